# InvPT on ViT-L/16, trained on ImageNet-21k, then on ImageNet-1k at 384.
_base_ = ['./invpt.py']

vit = 1024
model = dict(
    backbone=dict(
        type='VisionTransformer',
        arch='large',
        drop_path_rate=0.15,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://storage.googleapis.com/vit_models/augreg/L_16-i21k-300ep-lr_0.001-aug_medium1-wd_0.1-do_0.1-sd_0.1--imagenet2012-steps_20k-lr_0.01-res_384.npz')),
    neck=[
        dict(
            type='PreliminaryDecoder',
            in_channels=vit,
            channels=512,
            embed_dim=_base_.channels,
            downsample=2),
        dict(
            type='UPTransformer',
            channels=_base_.channels,
            skip_channels=[vit, vit],
            skip_index=[1, 0],
            skip_strides=[16, 16])
    ])
