# PAP-Net as CTAL compares with it: initial heads, one step of diffusion along
# mixed affinities.
_base_ = ['./mtl_swinv2-s.py']

head = dict(in_channels=128)
model = dict(
    neck=dict(
        initial_heads=dict(type='InitialTaskHeads', in_channels=768),
        propagation=dict(
            type='PatternAffinityPropagation', in_channels=256, channels=128, reduce=True)))
