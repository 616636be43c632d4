# What the released code computes: affinities of features of unit norm along positions, divided by
# column sums; pictures in [0, 1] into an ImageNet backbone.
_base_ = ['./pap-net_hrnet18_1xb8-27825_cityscapes-128x256.py']

model = dict(
    data_preprocessor=dict(mean=0.0, std=255.0),
    neck=dict(propagation=dict(affinity='released')))
