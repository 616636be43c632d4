# NYUD-v2, two tasks, resized to 480x640: transforms of ASTMT, scores of MTI-Net at native size, as
# in the multi-task survey (TPAMI 2021).
_base_ = ['./nyud.py', '../pipelines/astmt.py', '../tasks/nyud_2task_survey.py']

train_dataloader = dict(
    batch_size=8,
    dataset=dict(tasks=_base_.tasks, pipeline=_base_.nyud_train_pipeline))
val_dataloader = dict(
    batch_size=8,
    dataset=dict(tasks=_base_.tasks, pipeline=_base_.nyud_test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(
    type='MultiTaskEvaluator', tasks=_base_.tasks, profile='mti', data='nyud', metrics=dict())
test_evaluator = val_evaluator
visualizer = dict(
    type='DenseLocalVisualizer',
    tasks=_base_.tasks,
    vis_backends=[dict(type='LocalVisBackend')])
