_base_ = [
    '../_base_/datasets/nyud_depth.py', '../_base_/models/polymax_convnext-l.py',
    '../_base_/schedules/polymax_finetune_40k.py', '../_base_/default_runtime.py'
]

model = dict(
    tasks=_base_.tasks,
    heads=dict(depth=_base_.depth_head))

# The depth range is another one, and with it the meaning of the bin centres: the seven
# output layers start afresh.
default_hooks = dict(load_report=dict(drop=[r'value_head']))

load_from = 'work_dirs/polymax_convnext-l_8xb8-100k_taskonomy-513x513_depth/iter_100000.pth'
