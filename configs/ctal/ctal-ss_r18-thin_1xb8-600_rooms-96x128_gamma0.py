# Without the attended features: what the affinity adds.
_base_ = ['./ctal-ss_r18-thin_1xb8-600_rooms-96x128.py']

model = dict(neck=dict(affinity=dict(gamma=0.0)))
