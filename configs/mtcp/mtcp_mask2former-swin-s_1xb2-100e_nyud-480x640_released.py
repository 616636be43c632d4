# What the released code computes: plain sum of the losses (loss prioritization is computed there and
# then left out), intermediate predictions at half weight, squared error of raw normals, depth
# below 6.5535 m, no cosine distance.
_base_ = [
    '../_base_/datasets/nyud_3task_mtcp_released.py',
    '../_base_/models/mtcp_mask2former-swin-s.py', '../_base_/schedules/adamw_100e.py'
]

half = dict(_base_.head, intermediate_weight=0.5)
model = dict(
    tasks=_base_.tasks,
    neck=dict(released=True),
    heads=dict(
        semseg=dict(half, upsample=2),
        depth=dict(_base_.depth_head, intermediate_weight=0.5),
        # Intermediate normals pass through the loss of depth.
        normal=dict(
            half, auxiliary_losses=[dict(type='MaskedL1Loss', channel_reduction='mean')])),
    balancer=dict(_delete_=True, type='EqualWeights', reduction='sum', aux_losses='added'))
