# Cross-task affinity learning at a single scale.
_base_ = ['./mtl_r18-thin.py']

head = dict(
    _delete_=True,
    type='ResidualHead',
    in_channels=48,
    align_corners=False,
    intermediate_reduction='mean')
model = dict(
    neck=dict(
        fusion=dict(type='HRFusion', in_channels=[32, 64, 128, 256], channels=128),
        initial_heads=dict(type='InitialTaskHeads', in_channels=128, channels=128),
        affinity=dict(
            type='CrossTaskAffinity',
            in_channels=128,
            channels=48,
            feat_size=(24, 32),
            filter_size=3,
            gamma=0.05,
            affinity_impl='factorised')))
