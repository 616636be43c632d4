# What the released code computes: pictures in [0, 1] into an ImageNet backbone; normals that sum
# to 0 are unknown.
_base_ = ['./pad-net_hrnet18_1xb8-19800_nyuv2-288x384.py']

model = dict(data_preprocessor=dict(mean=0.0, std=255.0))
train_dataloader = dict(dataset=dict(valid_rule='sum'))
val_dataloader = dict(dataset=dict(valid_rule='sum'))
test_dataloader = dict(dataset=dict(valid_rule='sum'))
