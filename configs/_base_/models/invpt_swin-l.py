# InvPT on Swin-L of ImageNet-22k. Its last map has the stride of the decoder already, and the
# levels of strides 16 and 8 join where the decoder has these strides.
_base_ = ['./invpt.py']

model = dict(
    backbone=dict(
        type='SwinTransformer',
        arch='large',
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://github.com/SwinTransformer/storage/releases/download/v1.0.0/swin_large_patch4_window7_224_22k.pth',
            # A classifier has no norms on the four outputs.
            drop=[r'^norm\d\.'])),
    neck=[
        dict(
            type='PreliminaryDecoder',
            in_channels=1536,
            channels=512,
            embed_dim=_base_.channels,
            downsample=1),
        dict(
            type='UPTransformer',
            channels=_base_.channels,
            skip_channels=[768, 384],
            skip_index=[2, 1],
            skip_strides=[16, 8])
    ])
