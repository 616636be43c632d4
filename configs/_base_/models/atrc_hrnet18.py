# ATRC on HRNetV2-W18-small of ImageNet-1k. Fused width 270, c = 270 // 4, d = 67 // 2.
_base_ = ['./atrc.py']

levels = [18, 36, 72, 144]
head = dict(in_channels=67)
baseline_head = dict(in_channels=270, channels=67)
model = dict(
    backbone=dict(
        type='HRNet',
        arch='w18-small',
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://msra/hrnetv2_w18_small')))
