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
            seg_loss=dict(type='KMaXSegLoss', num_samples=256)),
        depth=dict(
            type='ClusterBinDepthHead',
            in_channels=_base_.decoder_channels,
            num_clusters=16,
            decoder=_base_.decoder,
            losses=[
                dict(type='SILogLoss', variance_focus=1.0, sqrt=False),
                dict(type='RelativeSquaredErrorLoss'),
                dict(type='MultiScaleGradientLoss', loss_weight=0.5)
            ]),
        normal=dict(
            type='SphereSegmentNormalHead',
            in_channels=_base_.decoder_channels,
            num_clusters=8,
            decoder=_base_.decoder,
            losses=[dict(type='MaskedL2Loss')])))
