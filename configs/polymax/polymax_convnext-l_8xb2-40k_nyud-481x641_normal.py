_base_ = [
    '../_base_/datasets/nyud_normal.py', '../_base_/models/polymax_convnext-l.py',
    '../_base_/schedules/polymax_finetune_40k.py', '../_base_/default_runtime.py'
]

model = dict(
    tasks=_base_.tasks,
    heads=dict(normal=_base_.normal_head))

load_from = 'work_dirs/polymax_convnext-l_8xb8-100k_taskonomy-513x513_normal/iter_100000.pth'
