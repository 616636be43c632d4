_base_ = [
    '../_base_/datasets/nyud_semseg.py', '../_base_/models/deeplabv3plus_r50.py',
    '../_base_/schedules/polymax_finetune_20k.py', '../_base_/default_runtime.py'
]

model = dict(
    tasks=_base_.tasks,
    heads=dict(
        semseg=_base_.head))

# No mask transformer, so no relative tables or queries.
optim_wrapper = dict(
    paramwise_cfg=dict(_delete_=True, lr_mult={r'^backbone\.': 0.1}))

# The classes of Taskonomy's labels are others.
default_hooks = dict(load_report=dict(drop=[r'heads\.semseg\.predictor']))

load_from = 'work_dirs/deeplabv3plus_r50_8xb8-100k_taskonomy-513x513_semseg/iter_100000.pth'
