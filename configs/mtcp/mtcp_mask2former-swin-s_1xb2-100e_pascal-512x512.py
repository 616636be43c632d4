_base_ = [
    '../_base_/datasets/pascal_3task_mtcp.py', '../_base_/models/mtcp_mask2former-swin-s.py',
    '../_base_/schedules/adamw_100e.py'
]

model = dict(
    tasks=_base_.tasks,
    neck=dict(intermediate_convs=dict(part=1, saliency=1)),
    heads=dict(
        semseg=dict(_base_.head, upsample=4),
        part=dict(_base_.head, upsample=4),
        saliency=_base_.head))
# Scored less often: 5105 pictures take their time.
train_cfg = dict(val_interval=25)
