# Fine-tunes the multi-task network of the procedural rooms on the pictures of a folder. To be copied:
# what differs from folder to folder is here.
_base_ = [
    '../_base_/datasets/folder.py', '../_base_/models/conv_multitask.py',
    '../_base_/schedules/adamw_finetune_200.py', '../_base_/default_runtime.py'
]

# The number of classes is that of dataset.yml, which names them; a wrong one is refused.
tasks = dict(
    semseg=dict(type='SemSeg', num_classes=13),
    depth=dict(type='Depth', min_depth=1e-3, max_depth=10.0),
    normal=dict(type='Normal'))

model = dict(
    tasks=tasks,
    heads=dict(
        semseg=_base_.head,
        depth=_base_.head,
        normal=_base_.head))
train_dataloader = dict(dataset=dict(tasks=tasks))
val_dataloader = dict(dataset=dict(tasks=tasks))
test_dataloader = dict(dataset=dict(tasks=tasks))
val_evaluator = dict(type='MultiTaskEvaluator', tasks=tasks, metrics=dict())
test_evaluator = val_evaluator
visualizer = dict(
    type='DenseLocalVisualizer', tasks=tasks, vis_backends=[dict(type='LocalVisBackend')])

# Where classes are others than those of the weights, the last layer of their head starts afresh.
default_hooks = dict(load_report=dict(drop=[r'^heads\.semseg\.predictor\.']))

load_from = 'work_dirs/mtl_r18-thin_1xb8-600_rooms-96x128_3task/iter_600.pth'
