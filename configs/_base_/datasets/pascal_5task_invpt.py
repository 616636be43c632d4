# PASCAL-Context, five tasks, in frames of 512x512: transforms and scores of InvPT.
_base_ = ['./pascal.py', '../pipelines/invpt.py', '../tasks/pascal_5task.py']

train_dataloader = dict(dataset=dict(tasks=_base_.tasks, pipeline=_base_.pascal_train_pipeline))
val_dataloader = dict(dataset=dict(tasks=_base_.tasks, pipeline=_base_.pascal_test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(
    type='MultiTaskEvaluator',
    tasks=_base_.tasks,
    profile='invpt',
    data='pascal',
    metrics=dict())
test_evaluator = val_evaluator
visualizer = dict(
    type='DenseLocalVisualizer',
    tasks=_base_.tasks,
    vis_backends=[dict(type='LocalVisBackend')])
