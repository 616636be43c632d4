_base_ = [
    '../_base_/datasets/rooms_depth.py', '../_base_/models/polymax_convnext-atto.py',
    '../_base_/schedules/adamw_quickstart.py', '../_base_/default_runtime.py'
]

model = dict(
    tasks=_base_.tasks,
    heads=dict(
        depth=dict(
            type='ClusterBinDepthHead',
            in_channels=_base_.decoder_channels,
            num_clusters=16,
            decoder=_base_.decoder,
            losses=[dict(type='CharbonnierLoss', c=1.0)])))

default_hooks = dict(checkpoint=dict(interval=150))
