# Cityscapes in the small preprocessing, two tasks, 19 classes, 2975 / 500 pictures of 128x256:
# transforms and scores of CTAL.
_base_ = ['../pipelines/ctal.py', '../tasks/cityscapes_2task_ctal.py']

dataset_type = 'CityscapesSmallDataset'
data_root = 'data/cityscapes_small'
label_folder = 'label_19'

train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='SeededInfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        tasks=_base_.tasks,
        data_root=data_root,
        label_folder=label_folder,
        split='train',
        pipeline=_base_.cityscapes_train_pipeline))
val_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        tasks=_base_.tasks,
        data_root=data_root,
        label_folder=label_folder,
        split='val',
        test_mode=True,
        pipeline=_base_.cityscapes_test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(
    type='MultiTaskEvaluator',
    tasks=_base_.tasks,
    profile='ctal',
    data='cityscapes',
    metrics=dict())
test_evaluator = val_evaluator
visualizer = dict(
    type='DenseLocalVisualizer',
    tasks=_base_.tasks,
    vis_backends=[dict(type='LocalVisBackend')])
