# MTI-Net on HRNetV2-W48, the host of the triplane regularizer's second table.
channels = [48, 96, 192, 384]
head = dict(
    type='HRHead',
    in_channels=channels,
    align_corners=False,
    # Deep supervision of the four scales counts as much as the outputs.
    intermediate_reduction='sum')

model = dict(
    type='DensePredictor',
    data_preprocessor=dict(
        type='DenseDataPreprocessor',
        mean=(123.675, 116.28, 103.53),
        std=(58.395, 57.12, 57.375)),
    backbone=dict(
        type='HRNet',
        arch='w48',
        norm_cfg=dict(type='BN', momentum=0.01),
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://msra/hrnetv2_w48')),
    neck=dict(
        initial_heads=dict(type='MultiScaleInitialTaskHeads', in_channels=channels),
        distillation=dict(type='MultiScaleDistillation', in_channels=channels)))
