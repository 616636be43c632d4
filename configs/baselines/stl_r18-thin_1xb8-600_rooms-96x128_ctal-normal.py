_base_ = [
    '../_base_/datasets/rooms_3task_ctal_normal.py', '../_base_/models/mtl_r18-thin.py',
    '../_base_/schedules/adamw_600.py', '../_base_/default_runtime.py'
]

model = dict(
    tasks=_base_.tasks,
    heads=dict(normal=_base_.head),
    balancer=dict(type='FixedWeights', weights=_base_.task_weights))
