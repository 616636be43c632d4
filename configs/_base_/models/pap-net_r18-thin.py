# PAP-Net as CTAL compares with it: fused levels, initial heads, one step of diffusion along
# mixed affinities.
_base_ = ['./mtl_r18-thin.py']

head = dict(
    _delete_=True,
    type='ResidualHead',
    in_channels=64,
    align_corners=False,
    intermediate_reduction='mean')
model = dict(
    neck=dict(
        fusion=dict(type='HRFusion', in_channels=[32, 64, 128, 256], channels=128),
        initial_heads=dict(type='InitialTaskHeads', in_channels=128, channels=128),
        propagation=dict(
            type='PatternAffinityPropagation', in_channels=128, channels=64)))
