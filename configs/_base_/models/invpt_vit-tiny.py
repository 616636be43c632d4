# InvPT on a small ViT without pretraining, for the procedural rooms on a CPU: sides are multiples
# of 16.
_base_ = ['./invpt.py']

vit = 192
channels = 64
head = dict(in_channels=channels)
model = dict(
    data_preprocessor=dict(size_divisor=16),
    backbone=dict(type='VisionTransformer', arch='tiny'),
    neck=[
        dict(
            type='PreliminaryDecoder',
            in_channels=vit,
            channels=64,
            mid_channels=96,
            embed_dim=channels,
            downsample=2),
        dict(
            type='UPTransformer',
            channels=channels,
            skip_channels=[vit, vit],
            skip_index=[1, 0],
            skip_strides=[16, 16])
    ])
