# NYUD-v2, three tasks, resized to 480x640: transforms of ASTMT, scores of MT-CP at native size.
# Beside its RMSE of depth below 6.5535 m stands that of all pixels, which counts; normals are not
# rounded to 8 bit.
_base_ = ['./nyud.py', '../pipelines/astmt.py', '../tasks/nyud_3task_mtcp.py']

# An epoch is a pass over the 795 pictures, 397 batches of 2.
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
    metrics=dict(
        depth=[
            dict(type='DepthMetric', clamp=1e-9),
            dict(type='DepthMetric', clamp=1e-9, max_depth=6.5535, prefix='depth_near')
        ],
        normal=[dict(type='NormalMetric')]))
test_evaluator = val_evaluator
visualizer = dict(
    type='DenseLocalVisualizer',
    tasks=_base_.tasks,
    vis_backends=[dict(type='LocalVisBackend')])
