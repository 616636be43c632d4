# NYUD-v2, three tasks, resized to 480x640: transforms of ASTMT, losses and scores of MT-CP's
# released code at native size.
_base_ = ['./nyud.py', '../pipelines/astmt.py', '../tasks/nyud_3task_mtcp_released.py']

train_dataloader = dict(
    batch_size=2,
    drop_last=True,
    sampler=dict(_delete_=True, type='DefaultSampler', shuffle=True),
    dataset=dict(tasks=_base_.tasks, pipeline=_base_.nyud_train_pipeline))
val_dataloader = dict(
    batch_size=2,
    dataset=dict(tasks=_base_.tasks, pipeline=_base_.nyud_test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(
    type='MultiTaskEvaluator',
    tasks=_base_.tasks,
    profile='mtcp',
    data='nyud',
    metrics=dict())
test_evaluator = val_evaluator
visualizer = dict(
    type='DenseLocalVisualizer',
    tasks=_base_.tasks,
    vis_backends=[dict(type='LocalVisBackend')])
