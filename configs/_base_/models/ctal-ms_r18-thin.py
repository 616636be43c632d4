# Cross-task affinity learning on the multi-scale features of MTI-Net.
_base_ = ['./mtl_r18-thin.py']

head = dict(
    _delete_=True,
    type='ResidualHead',
    in_channels=48,
    align_corners=False,
    intermediate_reduction='mean')
model = dict(
    neck=dict(
        initial_heads=dict(type='MultiScaleInitialTaskHeads', in_channels=[32, 64, 128, 256]),
        fusion=dict(type='HRFusion', in_channels=[32, 64, 128, 256], channels=128, per_task=True),
        affinity=dict(
            type='CrossTaskAffinity',
            in_channels=128,
            channels=48,
            filter_size=3,
            gamma=0.05,
            feat_size=(24, 32),
            affinity_impl='factorised')))
