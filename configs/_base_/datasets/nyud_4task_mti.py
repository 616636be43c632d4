# NYUD-v2, four tasks, resized to 480x640: transforms of ASTMT, scores of MTI-Net at native size.
_base_ = ['./nyud.py', '../pipelines/astmt.py', '../tasks/nyud_4task.py']

train_dataloader = dict(
    batch_size=8,
    dataset=dict(tasks=_base_.tasks, pipeline=_base_.nyud_train_pipeline))
val_dataloader = dict(
    batch_size=8,
    dataset=dict(tasks=_base_.tasks, pipeline=_base_.nyud_test_pipeline))
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
