# CTAL's multi-task baseline on SwinV2-S of ImageNet-1k: its last stage, one map of 768 channels at
# a stride of 32, and a DeepLabv3 head for each task.
head = dict(
    type='ASPPHead',
    in_channels=768,
    align_corners=False,
    intermediate_reduction='mean')

model = dict(
    type='DensePredictor',
    data_preprocessor=dict(
        type='DenseDataPreprocessor',
        mean=(123.675, 116.28, 103.53),
        std=(58.395, 57.12, 57.375)),
    backbone=dict(
        type='SwinV2',
        arch='small',
        window_size=8,
        drop_path_rate=0.3,
        out_indices=(3, ),
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.pytorch.org/models/swin_v2_s-637d8ceb.pth')))
