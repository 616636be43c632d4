_base_ = ['./taskonomy.py', '../tasks/taskonomy_normal.py']

train_dataloader = dict(dataset=dict(tasks=_base_.tasks, pipeline=_base_.normal_pipeline))
val_dataloader = dict(dataset=dict(tasks=_base_.tasks))
test_dataloader = dict(dataset=dict(tasks=_base_.tasks))
val_evaluator = dict(type='MultiTaskEvaluator', tasks=_base_.tasks, metrics=dict())
test_evaluator = val_evaluator
visualizer = dict(
    type='DenseLocalVisualizer',
    tasks=_base_.tasks,
    vis_backends=[dict(type='LocalVisBackend')])
