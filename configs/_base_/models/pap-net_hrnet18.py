# PAP-Net as CTAL compares with it: fused levels, initial heads, one step of diffusion along
# mixed affinities.
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
        propagation=dict(
            type='PatternAffinityPropagation', in_channels=256, channels=128)))
