# What the released code computes: pictures in [0, 1] into an ImageNet backbone.
_base_ = ['./pad-net_hrnet18_1xb8-27825_cityscapes-128x256.py']

model = dict(data_preprocessor=dict(mean=0.0, std=255.0))
