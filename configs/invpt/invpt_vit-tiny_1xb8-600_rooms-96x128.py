_base_ = [
    '../_base_/datasets/rooms_6task.py', '../_base_/models/invpt_vit-tiny.py',
    '../_base_/schedules/adamw_600.py', '../_base_/default_runtime.py'
]

model = dict(
    tasks=_base_.tasks,
    backbone=dict(img_size=_base_.size),
    heads=dict(
        semseg=_base_.head,
        depth=_base_.head,
        normal=_base_.head,
        boundary=_base_.head,
        saliency=_base_.head,
        part=_base_.head))
