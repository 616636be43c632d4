# NDDR-CNN as in the multi-task survey: a network per task, and NDDR layers behind the stem and every stage.
_base_ = ['./mtl_r18-os8.py']

model = dict(
    backbone=dict(
        _delete_=True,
        type='NDDRBackbone',
        backbone=dict(
            type='DilatedResNet',
            depth=18,
            out_indices=(3, ),
            init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet18'))))
