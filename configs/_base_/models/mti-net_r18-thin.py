# MTI-Net: initial heads and feature propagation at four scales, distillation at each.
_base_ = ['./mtl_r18-thin.py']

model = dict(
    neck=dict(
        initial_heads=dict(type='MultiScaleInitialTaskHeads', in_channels=[32, 64, 128, 256]),
        distillation=dict(type='MultiScaleDistillation', in_channels=[32, 64, 128, 256])))
