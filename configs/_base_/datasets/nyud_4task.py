# NYUD-v2, four tasks, 795 / 654 pictures of 425x560: transforms and scores of ATRC.
_base_ = ['./nyud.py', '../pipelines/atrc.py', '../tasks/nyud_4task.py']

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
    profile='atrc',
    data='nyud',
    metrics=dict())
test_evaluator = val_evaluator
visualizer = dict(
    type='DenseLocalVisualizer',
    tasks=_base_.tasks,
    vis_backends=[dict(type='LocalVisBackend')])
