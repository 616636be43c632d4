# The multi-task baseline: fused levels, and ATRC's bottlenecks and last layers as heads.
_base_ = [
    '../_base_/datasets/rooms_6task.py', '../_base_/models/atrc_r18-thin.py',
    '../_base_/schedules/adamw_600.py', '../_base_/default_runtime.py'
]

model = dict(
    tasks=_base_.tasks,
    neck=dict(type='MultiScaleFusion', in_channels=_base_.levels),
    heads=dict(
        semseg=_base_.baseline_head,
        depth=_base_.baseline_head,
        normal=_base_.baseline_head,
        boundary=_base_.baseline_head,
        saliency=_base_.baseline_head,
        part=_base_.baseline_head))
