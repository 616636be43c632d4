# InvPT on ViT-B of full size, on rooms: what a step costs, measured where there is no GPU.
_base_ = [
    '../_base_/datasets/rooms_6task.py', '../_base_/models/invpt_vit-b.py',
    '../_base_/schedules/adamw_800.py', '../_base_/default_runtime.py'
]

model = dict(
    data_preprocessor=dict(size_divisor=16),
    tasks=_base_.tasks,
    # No pretrained weights: nothing is downloaded.
    backbone=dict(img_size=_base_.size, init_cfg=None),
    heads=dict(
        semseg=_base_.head,
        depth=_base_.head,
        normal=_base_.head,
        boundary=_base_.head,
        saliency=_base_.head,
        part=_base_.head))
train_dataloader = dict(batch_size=2)
