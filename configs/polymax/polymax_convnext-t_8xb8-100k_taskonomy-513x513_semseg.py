_base_ = [
    '../_base_/datasets/taskonomy_semseg.py', '../_base_/models/polymax_convnext-t.py',
    '../_base_/schedules/polymax_pretrain_100k.py', '../_base_/default_runtime.py'
]

model = dict(
    tasks=_base_.tasks,
    heads=dict(semseg=_base_.semseg_head))
