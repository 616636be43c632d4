# What the released code computes: feature propagation weighs neighbouring channels.
_base_ = ['./mti-net_r18-thin_1xb8-600_rooms-96x128.py']

model = dict(neck=dict(initial_heads=dict(fpm_softmax='released')))
