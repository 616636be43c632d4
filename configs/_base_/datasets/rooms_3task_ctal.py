# Procedural rooms with the losses and scores that CTAL has on NYUv2.
_base_ = ['./rooms.py', '../tasks/nyuv2_3task_ctal.py']

train_dataloader = dict(dataset=dict(tasks=_base_.tasks))
val_dataloader = dict(dataset=dict(tasks=_base_.tasks))
test_dataloader = dict(dataset=dict(tasks=_base_.tasks))
val_evaluator = dict(
    type='MultiTaskEvaluator', tasks=_base_.tasks, profile='ctal', data='rooms', metrics=dict())
test_evaluator = val_evaluator
visualizer = dict(
    type='DenseLocalVisualizer',
    tasks=_base_.tasks,
    vis_backends=[dict(type='LocalVisBackend')])
