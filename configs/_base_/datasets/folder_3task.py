_base_ = ['./folder.py', '../tasks/folder_3task.py']

train_dataloader = dict(dataset=dict(tasks=_base_.tasks))
val_dataloader = dict(dataset=dict(tasks=_base_.tasks))
test_dataloader = dict(dataset=dict(tasks=_base_.tasks))
val_evaluator = dict(type='MultiTaskEvaluator', tasks=_base_.tasks, metrics=dict())
test_evaluator = val_evaluator
visualizer = dict(
    type='DenseLocalVisualizer',
    tasks=_base_.tasks,
    vis_backends=[dict(type='LocalVisBackend')])
