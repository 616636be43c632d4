# What the released code computes: plain sum of the losses, intermediate predictions at half
# weight, no cosine distance.
_base_ = [
    '../_base_/datasets/pascal_3task_mtcp_released.py',
    '../_base_/models/mtcp_mask2former-swin-s.py', '../_base_/schedules/adamw_100e.py'
]

half = dict(_base_.head, intermediate_weight=0.5)
model = dict(
    tasks=_base_.tasks,
    neck=dict(released=True, intermediate_convs=dict(part=1, saliency=1)),
    heads=dict(
        semseg=dict(half, upsample=4), part=dict(half, upsample=4), saliency=half),
    balancer=dict(_delete_=True, type='EqualWeights', reduction='sum', aux_losses='added'))
train_cfg = dict(val_interval=25)
