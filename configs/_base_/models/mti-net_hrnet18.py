# MTI-Net: initial heads and feature propagation at four scales, distillation at each.
_base_ = ['./mtl_hrnet18.py']

model = dict(
    neck=dict(
        initial_heads=dict(type='MultiScaleInitialTaskHeads', in_channels=[18, 36, 72, 144]),
        distillation=dict(type='MultiScaleDistillation', in_channels=[18, 36, 72, 144])))
