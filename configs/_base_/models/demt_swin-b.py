# DeMT on Swin-B of ImageNet-22k. Fused width 1920, C' = 256, heads of 1920 / 8 channels.
_base_ = ['./demt.py']

head = dict(channels=240)
model = dict(
    backbone=dict(
        type='SwinTransformer',
        arch='base',
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://github.com/SwinTransformer/storage/releases/download/v1.0.0/swin_base_patch4_window7_224_22k.pth',
            # A classifier has no norms on the four outputs.
            drop=[r'^norm\d\.'])),
    neck=dict(in_channels=[128, 256, 512, 1024]))

# What the released models start from: the backbone of a UPerNet trained on ADE20K for 160 k
# iterations. The configs `*_ade20k.py` put it in the place of `init_cfg`.
ade20k = dict(
    type='Pretrained',
    checkpoint='https://download.openmmlab.com/mmsegmentation/v0.5/swin/upernet_swin_base_patch4_window7_512x512_160k_ade20k_pretrain_224x224_22K/upernet_swin_base_patch4_window7_512x512_160k_ade20k_pretrain_224x224_22K_20210526_211650-762e2178.pth',
    prefix='backbone')
