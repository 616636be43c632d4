_base_ = [
    '../_base_/datasets/rooms_normal.py', '../_base_/models/mtcp_r18-thin.py',
    '../_base_/schedules/adamw_600.py', '../_base_/default_runtime.py'
]

model = dict(
    tasks=_base_.tasks,
    neck=dict(with_cfm=False, with_srm=False),
    heads=dict(normal=_base_.head),
    balancer=dict(_delete_=True, type='FixedWeights'))
