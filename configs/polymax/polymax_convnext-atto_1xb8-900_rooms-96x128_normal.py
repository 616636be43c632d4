_base_ = [
    '../_base_/datasets/rooms_normal.py', '../_base_/models/polymax_convnext-atto.py',
    '../_base_/schedules/adamw_quickstart.py', '../_base_/default_runtime.py'
]

model = dict(
    tasks=_base_.tasks,
    heads=dict(
        normal=dict(
            type='SphereSegmentNormalHead',
            in_channels=_base_.decoder_channels,
            num_clusters=8,
            decoder=_base_.decoder,
            losses=[dict(type='MaskedL2Loss')])))

default_hooks = dict(checkpoint=dict(interval=150))
