# Cross-task affinity learning at a single scale. Each config gives `affinity` the token grid
# `feat_size` of its pictures.
_base_ = ['./mtl_swinv2-s.py']

head = dict(in_channels=128)
model = dict(
    neck=dict(
        initial_heads=dict(type='InitialTaskHeads', in_channels=768),
        affinity=dict(
            type='CrossTaskAffinity',
            in_channels=256,
            channels=128,
            filter_size=3,
            gamma=0.05,
            norm_act=True)))
