# DeMT on HRNetV2-W48 of ImageNet-1k. Fused width 720, C' = 256 (assumed: the paper does not say),
# heads of 720 / 8 channels.
_base_ = ['./demt.py']

head = dict(channels=90)
model = dict(
    backbone=dict(
        type='HRNet',
        arch='w48',
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://msra/hrnetv2_w48')),
    neck=dict(in_channels=[48, 96, 192, 384]))
