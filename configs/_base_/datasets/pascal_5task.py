# PASCAL-Context, five tasks, 4998 / 5105 pictures in frames of 512x512: transforms and scores
# of ATRC.
_base_ = ['./pascal.py', '../pipelines/atrc.py', '../tasks/pascal_5task.py']

train_dataloader = dict(dataset=dict(tasks=_base_.tasks, pipeline=_base_.pascal_train_pipeline))
val_dataloader = dict(dataset=dict(tasks=_base_.tasks, pipeline=_base_.pascal_test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(
    type='MultiTaskEvaluator',
    tasks=_base_.tasks,
    profile='atrc',
    data='pascal',
    metrics=dict())
test_evaluator = val_evaluator
visualizer = dict(
    type='DenseLocalVisualizer',
    tasks=_base_.tasks,
    vis_backends=[dict(type='LocalVisBackend')])
