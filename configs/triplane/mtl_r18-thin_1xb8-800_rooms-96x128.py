# The multi-task baseline that the regularizers of this folder are added to.
_base_ = [
    '../_base_/datasets/rooms_3task.py', '../_base_/models/conv_multitask.py',
    '../_base_/schedules/adamw_800.py', '../_base_/default_runtime.py'
]

model = dict(
    tasks=_base_.tasks,
    heads=dict(
        semseg=_base_.head,
        depth=_base_.head,
        normal=_base_.head))
