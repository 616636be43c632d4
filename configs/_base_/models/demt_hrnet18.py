# DeMT on HRNetV2-W18-small of ImageNet-1k. Fused width 270, C' = 128, heads of 270 // 8 channels.
_base_ = ['./demt.py']

channels = 128
head = dict(in_channels=channels, channels=33)
model = dict(
    backbone=dict(
        type='HRNet',
        arch='w18-small',
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://msra/hrnetv2_w18_small')),
    neck=dict(in_channels=[18, 36, 72, 144], channels=channels))
