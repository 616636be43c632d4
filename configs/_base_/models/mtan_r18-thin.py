# MTAN on the thin ResNet-18 and with the heads of mtl_r18-thin.py.
_base_ = ['./mtl_r18-thin.py']

model = dict(
    backbone=dict(
        _delete_=True,
        type='MTANBackbone',
        backbone=dict(type='ResNet', depth=18, stem_channels=32, base_channels=32)))
