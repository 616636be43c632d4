# NYUD-v2, four tasks, in frames of 448x576: transforms, losses and scores of InvPT.
_base_ = ['./nyud.py', '../pipelines/invpt.py', '../tasks/nyud_4task_invpt.py']

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
    profile='invpt',
    data='nyud',
    metrics=dict())
test_evaluator = val_evaluator
visualizer = dict(
    type='DenseLocalVisualizer',
    tasks=_base_.tasks,
    vis_backends=[dict(type='LocalVisBackend')])
