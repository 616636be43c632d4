_base_ = [
    '../_base_/datasets/rooms_3task.py', '../_base_/models/mtcp_mask2former-tiny.py',
    '../_base_/schedules/adamw_600.py', '../_base_/default_runtime.py'
]

model = dict(
    tasks=_base_.tasks,
    heads=dict(
        semseg=dict(_base_.head, upsample=2),
        depth=_base_.depth_head,
        normal=_base_.head))
