# NYUv2, 13 classes, three tasks, 288x384: no augmentation, scores of MTAN.
_base_ = ['../pipelines/mtan.py', '../tasks/nyuv2_3task.py']

dataset_type = 'NYUv2Dataset'
data_root = 'data/nyuv2'

train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='SeededInfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        tasks=_base_.tasks,
        data_root=data_root,
        split='train',
        pipeline=_base_.nyuv2_train_pipeline))
val_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        tasks=_base_.tasks,
        data_root=data_root,
        split='val',
        test_mode=True,
        pipeline=_base_.nyuv2_test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(
    type='MultiTaskEvaluator',
    tasks=_base_.tasks,
    profile='mtan',
    data='nyuv2',
    metrics=None)
test_evaluator = val_evaluator
visualizer = dict(
    type='DenseLocalVisualizer',
    tasks=_base_.tasks,
    vis_backends=[dict(type='LocalVisBackend')])
