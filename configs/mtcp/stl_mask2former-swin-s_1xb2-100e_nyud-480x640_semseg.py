_base_ = [
    '../_base_/datasets/nyud_3task_mtcp_semseg.py', '../_base_/models/mtcp_mask2former-swin-s.py',
    '../_base_/schedules/adamw_100e.py'
]

model = dict(
    tasks=_base_.tasks,
    neck=dict(with_cfm=False, with_srm=False),
    heads=dict(semseg=dict(_base_.head, upsample=2)),
    balancer=dict(_delete_=True, type='FixedWeights'))
