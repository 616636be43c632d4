# Cityscapes, two tasks, official folders at 512x1024, disparity in pixels: scores of TaskPrompter.
_base_ = ['../pipelines/invpt.py', '../tasks/cityscapes_2task.py']

dataset_type = 'CityscapesDataset'
data_root = 'data/cityscapes'

train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='SeededInfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        tasks=_base_.tasks,
        data_root=data_root,
        split='train',
        sky_disparity_zero=True,
        pipeline=_base_.cityscapes_train_pipeline))
val_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        tasks=_base_.tasks,
        data_root=data_root,
        split='val',
        sky_disparity_zero=True,
        test_mode=True,
        pipeline=_base_.cityscapes_test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(
    type='MultiTaskEvaluator',
    tasks=_base_.tasks,
    profile='taskprompter',
    data='cityscapes',
    metrics=dict())
test_evaluator = val_evaluator
visualizer = dict(
    type='DenseLocalVisualizer',
    tasks=_base_.tasks,
    vis_backends=[dict(type='LocalVisBackend')])
