_base_ = [
    '../_base_/datasets/rooms_part.py', '../_base_/models/conv_multitask.py',
    '../_base_/schedules/adamw_600.py', '../_base_/default_runtime.py'
]

model = dict(
    tasks=_base_.tasks,
    heads=dict(
        part=_base_.head))
