# MTAN as in the multi-task survey: one network, and attention of every task to its stages.
_base_ = ['./mtl_r50-os8.py']

model = dict(
    backbone=dict(
        _delete_=True,
        type='MTANBackbone',
        backbone=dict(
            type='DilatedResNet',
            depth=50,
            out_indices=(3, ),
            init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50'))))
