# Cross-Stitch as in the multi-task survey: a network per task, and cross-stitch units behind every stage.
_base_ = ['./mtl_r18-os8.py']

model = dict(
    backbone=dict(
        _delete_=True,
        type='CrossStitchBackbone',
        backbone=dict(
            type='DilatedResNet',
            depth=18,
            out_indices=(3, ),
            init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet18'))))
