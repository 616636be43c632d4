# Taskonomy, tiny split (25 / 5 / 5 buildings), five tasks, resized to 256x256; pictures that
# lack a domain train the others.
_base_ = ['../tasks/taskonomy_5task.py']

dataset_type = 'TaskonomyDataset'
data_root = 'data/taskonomy'
size = (256, 256)
train_pipeline = [
    dict(type='TaskAwareResize', size=size),
    dict(type='TaskAwareFlip', prob=0.5),
    dict(type='PackDenseInputs')
]
test_pipeline = [dict(type='TaskAwareResize', size=size), dict(type='PackDenseInputs')]

train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='SeededInfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        tasks=_base_.tasks,
        data_root=data_root,
        ann_file='splits/tiny_train.txt',
        on_error='skip',
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        tasks=_base_.tasks,
        data_root=data_root,
        ann_file='splits/tiny_val.txt',
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(
    type='MultiTaskEvaluator',
    tasks=_base_.tasks,
    metrics=dict())
test_evaluator = val_evaluator
visualizer = dict(
    type='DenseLocalVisualizer',
    tasks=_base_.tasks,
    vis_backends=[dict(type='LocalVisBackend')])
