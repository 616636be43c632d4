# PAD-Net as CTAL compares with it: fused levels, initial heads, gated messages among the tasks.
_base_ = ['./mtl_hrnet18.py']

head = dict(
    _delete_=True,
    type='ResidualHead',
    in_channels=256,
    align_corners=False,
    intermediate_reduction='mean')
model = dict(
    neck=dict(
        fusion=dict(type='HRFusion', in_channels=[18, 36, 72, 144]),
        initial_heads=dict(type='InitialTaskHeads', in_channels=270),
        distillation=dict(type='PADDistillation', channels=256)))
