# What the released code computes: one joint affinity for all tasks; pictures in [0, 1] into an
# ImageNet backbone.
_base_ = ['./ctal-ss_hrnet18_1xb8-27825_cityscapes-128x256.py']

model = dict(
    data_preprocessor=dict(mean=0.0, std=255.0),
    neck=dict(affinity=dict(joint_affinity='shared')))
