# What the released code computes: one joint affinity for all tasks, and feature propagation weighs
# neighbouring channels; pictures in [0, 1] into an ImageNet backbone.
_base_ = ['./ctal-ms_hrnet18_1xb8-27825_cityscapes-128x256.py']

model = dict(
    data_preprocessor=dict(mean=0.0, std=255.0),
    neck=dict(initial_heads=dict(fpm_softmax='released'), affinity=dict(joint_affinity='shared')))
