_base_ = [
    '../_base_/datasets/rooms_3task.py', '../_base_/models/polymax_convnext-atto.py',
    '../_base_/schedules/adamw_quickstart.py', '../_base_/default_runtime.py'
]

model = dict(
    tasks=_base_.tasks,
    heads=dict(
        semseg=dict(
            type='ClusterSegHead',
            in_channels=_base_.decoder_channels,
            decoder=_base_.decoder,
            seg_loss=dict(type='KMaXSegLoss', num_samples=128)),
        depth=dict(
            type='ClusterBinDepthHead',
            in_channels=_base_.decoder_channels,
            num_clusters=16,
            decoder=_base_.decoder,
            losses=[dict(type='CharbonnierLoss', c=1.0)]),
        normal=dict(
            type='SphereSegmentNormalHead',
            in_channels=_base_.decoder_channels,
            num_clusters=8,
            decoder=_base_.decoder,
            losses=[dict(type='MaskedL2Loss')])),
    # The segmentation loss is a sum of many terms, an order of magnitude above the others.
    balancer=dict(type='FixedWeights', weights=dict(semseg=0.6, depth=4.0, normal=2.0)))

default_hooks = dict(checkpoint=dict(interval=150))
