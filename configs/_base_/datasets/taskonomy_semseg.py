_base_ = ['./taskonomy.py', '../tasks/taskonomy_semseg.py']

train_dataloader = dict(dataset=dict(tasks=_base_.tasks, pipeline=_base_.semseg_pipeline, semseg_domain='segment_kmax'))
val_dataloader = dict(dataset=dict(tasks=_base_.tasks, semseg_domain='segment_kmax'))
test_dataloader = dict(dataset=dict(tasks=_base_.tasks, semseg_domain='segment_kmax'))
val_evaluator = dict(type='MultiTaskEvaluator', tasks=_base_.tasks, metrics=dict())
test_evaluator = val_evaluator
visualizer = dict(
    type='DenseLocalVisualizer',
    tasks=_base_.tasks,
    vis_backends=[dict(type='LocalVisBackend')])
