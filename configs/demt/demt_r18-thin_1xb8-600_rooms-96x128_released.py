# What the released code computes; nothing is pooled.
_base_ = ['./demt_r18-thin_1xb8-600_rooms-96x128.py']

model = dict(neck=dict(released=True, kv_stride=None))
