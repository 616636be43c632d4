# CTAL's multi-task baseline: HRNetV2-W18-small of ImageNet-1k and the head of HRNet for each task.
head = dict(
    type='HRHead',
    in_channels=[18, 36, 72, 144],
    align_corners=False,
    intermediate_reduction='mean')

model = dict(
    type='DensePredictor',
    data_preprocessor=dict(
        type='DenseDataPreprocessor',
        mean=(123.675, 116.28, 103.53),
        std=(58.395, 57.12, 57.375)),
    backbone=dict(
        type='HRNet',
        arch='w18-small',
        norm_cfg=dict(type='BN', momentum=0.01),
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://msra/hrnetv2_w18_small')))
