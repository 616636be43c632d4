_base_ = [
    '../_base_/datasets/taskonomy_normal.py', '../_base_/models/polymax_convnext-l.py',
    '../_base_/schedules/polymax_pretrain_100k.py', '../_base_/default_runtime.py'
]

model = dict(
    tasks=_base_.tasks,
    heads=dict(normal=_base_.normal_head))
