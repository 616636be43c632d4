_base_ = [
    '../_base_/datasets/taskonomy_depth.py', '../_base_/models/polymax_convnext-s.py',
    '../_base_/schedules/polymax_pretrain_100k.py', '../_base_/default_runtime.py'
]

model = dict(
    tasks=_base_.tasks,
    heads=dict(
        depth=dict(
            type='ClusterBinDepthHead',
            in_channels=_base_.decoder_channels,
            num_clusters=16,
            losses=[dict(type='CharbonnierLoss', c=1.0)])))
