# Without spatial refinement: heads on the fused maps, no intermediate predictions.
_base_ = ['./mtcp_r18-thin_1xb8-600_rooms-96x128.py']

model = dict(neck=dict(with_srm=False))
