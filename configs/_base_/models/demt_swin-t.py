# DeMT on Swin-T of ImageNet-1k. Fused width 1440, C' = 256, heads of 1440 / 8 channels.
_base_ = ['./demt.py']

head = dict(channels=180)
model = dict(
    backbone=dict(
        type='SwinTransformer',
        arch='tiny',
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://github.com/SwinTransformer/storage/releases/download/v1.0.0/swin_tiny_patch4_window7_224.pth',
            # A classifier has no norms on the four outputs.
            drop=[r'^norm\d\.'])),
    neck=dict(in_channels=[96, 192, 384, 768]))

# What the released models start from: the backbone of a UPerNet trained on ADE20K for 160 k
# iterations. The configs `*_ade20k.py` put it in the place of `init_cfg`.
ade20k = dict(
    type='Pretrained',
    checkpoint='https://download.openmmlab.com/mmsegmentation/v0.5/swin/upernet_swin_tiny_patch4_window7_512x512_160k_ade20k_pretrain_224x224_1K/upernet_swin_tiny_patch4_window7_512x512_160k_ade20k_pretrain_224x224_1K_20210531_112542-e380ad3e.pth',
    prefix='backbone')
