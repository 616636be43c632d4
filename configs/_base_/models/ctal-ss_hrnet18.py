# Cross-task affinity learning at a single scale. Each config gives `affinity` the token grid
# `feat_size` of its pictures.
_base_ = ['./mtl_hrnet18.py']

head = dict(
    _delete_=True,
    type='ResidualHead',
    in_channels=128,
    align_corners=False,
    intermediate_reduction='mean')
model = dict(
    neck=dict(
        fusion=dict(type='HRFusion', in_channels=[18, 36, 72, 144]),
        initial_heads=dict(type='InitialTaskHeads', in_channels=270),
        affinity=dict(
            type='CrossTaskAffinity', in_channels=256, channels=128, filter_size=3, gamma=0.05)))
