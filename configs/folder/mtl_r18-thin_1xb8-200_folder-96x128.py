# Fine-tunes the multi-task network of the procedural rooms on the pictures of a folder.
_base_ = [
    '../_base_/datasets/folder_3task.py', '../_base_/models/conv_multitask.py',
    '../_base_/schedules/adamw_finetune_200.py', '../_base_/default_runtime.py'
]

model = dict(
    tasks=_base_.tasks,
    heads=dict(
        semseg=_base_.head,
        depth=_base_.head,
        normal=_base_.head))

# Classes are others than those of the weights: the last layer of their head starts afresh.
default_hooks = dict(load_report=dict(drop=[r'^heads\.semseg\.predictor\.']))

load_from = 'work_dirs/mtl_r18-thin_1xb8-600_rooms-96x128_3task/iter_600.pth'
