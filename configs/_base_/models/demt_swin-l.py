# DeMT on Swin-L of ImageNet-22k. Fused width 2880, C' = 256, heads of 2880 / 8 channels.
# There is no UPerNet of this size and window, hence no ADE20K initialisation.
_base_ = ['./demt.py']

head = dict(channels=360)
model = dict(
    backbone=dict(
        type='SwinTransformer',
        arch='large',
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://github.com/SwinTransformer/storage/releases/download/v1.0.0/swin_large_patch4_window7_224_22k.pth',
            # A classifier has no norms on the four outputs.
            drop=[r'^norm\d\.'])),
    neck=dict(in_channels=[192, 384, 768, 1536]))
