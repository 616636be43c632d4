_base_ = [
    '../_base_/datasets/rooms_boundary.py', '../_base_/models/demt_r18-thin.py',
    '../_base_/schedules/adamw_600.py', '../_base_/default_runtime.py'
]

model = dict(
    tasks=_base_.tasks,
    neck=dict(mixer=False, interaction=False, query=False),
    heads=dict(boundary=_base_.head))
