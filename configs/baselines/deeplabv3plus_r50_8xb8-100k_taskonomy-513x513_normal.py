_base_ = [
    '../_base_/datasets/taskonomy_normal.py', '../_base_/models/deeplabv3plus_r50.py',
    '../_base_/schedules/polymax_pretrain_100k.py', '../_base_/default_runtime.py'
]

model = dict(
    tasks=_base_.tasks,
    heads=dict(
        normal=_base_.head))

# No mask transformer, so no relative tables or queries.
optim_wrapper = dict(
    paramwise_cfg=dict(_delete_=True, lr_mult={r'^backbone\.': 0.1}))
