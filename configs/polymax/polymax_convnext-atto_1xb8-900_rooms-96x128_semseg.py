_base_ = [
    '../_base_/datasets/rooms_semseg.py', '../_base_/models/polymax_convnext-atto.py',
    '../_base_/schedules/adamw_quickstart.py', '../_base_/default_runtime.py'
]

model = dict(
    tasks=_base_.tasks,
    heads=dict(
        semseg=dict(
            type='ClusterSegHead',
            in_channels=_base_.decoder_channels,
            decoder=_base_.decoder,
            seg_loss=dict(type='KMaXSegLoss', num_samples=128))))

default_hooks = dict(checkpoint=dict(interval=150))
