# The multi-task baseline of the survey (TPAMI 2021): ResNet-18 of ImageNet-1k dilated to a stride
# of 8, and a DeepLabv3 head for each task.
head = dict(
    type='ASPPHead', in_channels=512, align_corners=False, intermediate_reduction='mean')

model = dict(
    type='DensePredictor',
    data_preprocessor=dict(
        type='DenseDataPreprocessor',
        mean=(123.675, 116.28, 103.53),
        std=(58.395, 57.12, 57.375)),
    backbone=dict(
        type='DilatedResNet',
        depth=18,
        out_indices=(3, ),
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet18')))
