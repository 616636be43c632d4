# PolyMaX on ConvNeXt-B: ImageNet-22k weights fine-tuned on ImageNet-1k at 384, the drop path of
# kMaX-DeepLab's COCO configuration.
_base_ = ['./polymax_r50.py']
backbone_channels = [128, 256, 512, 1024]

model = dict(
    backbone=dict(
        _delete_=True,
        type='ConvNeXt',
        arch='base',
        drop_path_rate=0.5,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_base_22k_1k_384.pth')),
    neck=dict(in_channels=backbone_channels))
semseg_head = dict(auxiliary_semantic=dict(in_channels=backbone_channels))
