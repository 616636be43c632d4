# Without spatial refinement: heads on the fused maps, no intermediate predictions.
_base_ = ['./mtcp_mask2former-swin-s_1xb2-100e_nyud-480x640.py']

model = dict(neck=dict(with_srm=False))
