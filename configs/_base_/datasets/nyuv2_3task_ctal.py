# NYUv2, 13 classes, three tasks, 795 / 654 pictures of 288x384: transforms and scores of CTAL.
_base_ = ['./nyuv2.py', '../pipelines/ctal.py', '../tasks/nyuv2_3task_ctal.py']

train_dataloader = dict(dataset=dict(tasks=_base_.tasks, pipeline=_base_.nyuv2_train_pipeline))
val_dataloader = dict(dataset=dict(tasks=_base_.tasks, pipeline=_base_.nyuv2_test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(
    type='MultiTaskEvaluator', tasks=_base_.tasks, profile='ctal', data='nyuv2', metrics=dict())
test_evaluator = val_evaluator
visualizer = dict(
    type='DenseLocalVisualizer',
    tasks=_base_.tasks,
    vis_backends=[dict(type='LocalVisBackend')])
