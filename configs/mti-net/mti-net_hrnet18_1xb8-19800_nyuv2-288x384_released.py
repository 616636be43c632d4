# What the released code computes: feature propagation weighs neighbouring channels; pictures in
# [0, 1] into an ImageNet backbone; normals that sum to 0 are unknown.
_base_ = ['./mti-net_hrnet18_1xb8-19800_nyuv2-288x384.py']

model = dict(
    data_preprocessor=dict(mean=0.0, std=255.0),
    neck=dict(initial_heads=dict(fpm_softmax='released')))
train_dataloader = dict(dataset=dict(valid_rule='sum'))
val_dataloader = dict(dataset=dict(valid_rule='sum'))
test_dataloader = dict(dataset=dict(valid_rule='sum'))
