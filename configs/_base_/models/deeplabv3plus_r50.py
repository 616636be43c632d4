# DeepLabv3+ at output stride 32, the per-pixel baseline of the PolyMaX tables.
_base_ = ['./polymax_r50.py']

model = dict(neck=None)
