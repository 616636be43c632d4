_base_ = [
    '../_base_/datasets/nyud_3task_mtcp.py', '../_base_/models/mtcp_mask2former-swin-s.py',
    '../_base_/schedules/adamw_100e.py'
]

model = dict(
    tasks=_base_.tasks,
    heads=dict(
        semseg=dict(_base_.head, upsample=2),
        depth=_base_.depth_head,
        normal=_base_.head))
