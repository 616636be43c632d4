# NYUD-v2, four tasks, resized to 480x640: transforms of ASTMT, scores of MTI-Net at native size.
_base_ = ['../pipelines/astmt.py', '../tasks/nyud_4task.py']

dataset_type = 'NYUDv2Dataset'
data_root = 'data/nyud'

train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='SeededInfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        tasks=_base_.tasks,
        data_root=data_root,
        ann_file='gt_sets/train.txt',
        pipeline=_base_.nyud_train_pipeline))
val_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        tasks=_base_.tasks,
        data_root=data_root,
        ann_file='gt_sets/val.txt',
        test_mode=True,
        pipeline=_base_.nyud_test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(
    type='MultiTaskEvaluator',
    tasks=_base_.tasks,
    profile='mti',
    data='nyud',
    # MTI-Net reports no boundary on this data set: the score of ATRC stands in.
    metrics=dict(
        boundary=[dict(type='BoundaryMetric', max_dist=0.011, nms=True, gt='edges')]))
test_evaluator = val_evaluator
visualizer = dict(
    type='DenseLocalVisualizer',
    tasks=_base_.tasks,
    vis_backends=[dict(type='LocalVisBackend')])
