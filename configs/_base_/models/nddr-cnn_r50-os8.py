# NDDR-CNN as in the multi-task survey: a network per task, and NDDR layers behind the stem and every stage.
_base_ = ['./mtl_r50-os8.py']

model = dict(
    backbone=dict(
        _delete_=True,
        type='NDDRBackbone',
        backbone=dict(
            type='DilatedResNet',
            depth=50,
            out_indices=(3, ),
            init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50'))))
