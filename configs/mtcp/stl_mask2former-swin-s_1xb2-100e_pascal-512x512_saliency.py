_base_ = [
    '../_base_/datasets/pascal_3task_mtcp_saliency.py', '../_base_/models/mtcp_mask2former-swin-s.py',
    '../_base_/schedules/adamw_100e.py'
]

model = dict(
    tasks=_base_.tasks,
    neck=dict(with_cfm=False, with_srm=False),
    heads=dict(saliency=_base_.head),
    balancer=dict(_delete_=True, type='FixedWeights'))
train_cfg = dict(val_interval=25)
