# DeepLabv3+ at output stride 32, the per-pixel baseline of the PolyMaX tables.
_base_ = ['./polymax_r50.py']

head = dict(type='DeepLabV3PlusHead', in_channels=[256, 2048], in_index=[0, 3])

model = dict(neck=None)
