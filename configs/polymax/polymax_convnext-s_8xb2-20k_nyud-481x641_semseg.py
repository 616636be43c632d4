_base_ = [
    '../_base_/datasets/nyud_semseg.py', '../_base_/models/polymax_convnext-s.py',
    '../_base_/schedules/polymax_finetune_20k.py', '../_base_/default_runtime.py'
]

model = dict(
    tasks=_base_.tasks,
    heads=dict(semseg=_base_.semseg_head))

# The classes of Taskonomy's labels are others: queries and class heads start afresh.
default_hooks = dict(load_report=dict(drop=[r'decoder\.queries', r'value_head', r'auxiliary_semantic\.classifier']))

load_from = 'work_dirs/polymax_convnext-s_8xb8-100k_taskonomy-513x513_semseg/iter_100000.pth'
