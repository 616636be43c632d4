# PASCAL-Context, five tasks, in frames of 512x512: transforms and scores of InvPT.
_base_ = ['../pipelines/invpt.py', '../tasks/pascal_5task.py']

dataset_type = 'PASCALContextDataset'
data_root = 'data/pascal_context'

train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='SeededInfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        tasks=_base_.tasks,
        data_root=data_root,
        ann_file='ImageSets/Context/train.txt',
        pipeline=_base_.pascal_train_pipeline))
val_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        tasks=_base_.tasks,
        data_root=data_root,
        ann_file='ImageSets/Context/val.txt',
        test_mode=True,
        pipeline=_base_.pascal_test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(
    type='MultiTaskEvaluator',
    tasks=_base_.tasks,
    profile='invpt',
    data='pascal',
    metrics=None)
test_evaluator = val_evaluator
visualizer = dict(
    type='DenseLocalVisualizer',
    tasks=_base_.tasks,
    vis_backends=[dict(type='LocalVisBackend')])
