# One more supervised prediction, of the fused maps, as in the paper's figure.
_base_ = ['./mtcp_mask2former-swin-s_1xb2-100e_pascal-512x512.py']

model = dict(neck=dict(predict_from_cfm=True))
