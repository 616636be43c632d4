_base_ = [
    '../_base_/datasets/taskonomy_depth.py', '../_base_/models/polymax_r50.py',
    '../_base_/schedules/polymax_pretrain_100k.py', '../_base_/default_runtime.py'
]

model = dict(
    tasks=_base_.tasks,
    heads=dict(depth=_base_.depth_head))
