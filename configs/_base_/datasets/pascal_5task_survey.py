# PASCAL-Context, five tasks, resized to 512x512: transforms of ASTMT, scores of MTI-Net at native
# size, losses of the multi-task survey (TPAMI 2021).
_base_ = ['./pascal.py', '../pipelines/astmt.py', '../tasks/pascal_5task_survey.py']

train_dataloader = dict(dataset=dict(tasks=_base_.tasks, pipeline=_base_.pascal_train_pipeline))
val_dataloader = dict(dataset=dict(tasks=_base_.tasks, pipeline=_base_.pascal_test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(
    type='MultiTaskEvaluator',
    tasks=_base_.tasks,
    profile='mti',
    data='pascal',
    metrics=dict())
test_evaluator = val_evaluator
visualizer = dict(
    type='DenseLocalVisualizer',
    tasks=_base_.tasks,
    vis_backends=[dict(type='LocalVisBackend')])
