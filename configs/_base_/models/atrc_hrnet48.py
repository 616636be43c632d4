# ATRC on HRNetV2-W48 of ImageNet-1k. Fused width 720, c = 720 / 4, d = 180 / 2.
_base_ = ['./atrc.py']

levels = [48, 96, 192, 384]
head = dict(in_channels=180)
baseline_head = dict(in_channels=720, channels=180)
model = dict(
    backbone=dict(
        type='HRNet',
        arch='w48',
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://msra/hrnetv2_w48')))
