# PASCAL-Context, three tasks, 4998 / 5105 pictures resized to 512x512: transforms of ASTMT, scores of
# MT-CP at native size. Of saliency, not rounded to 8 bit, maxF counts.
_base_ = ['./pascal.py', '../pipelines/astmt.py', '../tasks/pascal_3task_mtcp.py']

# An epoch is a pass over the 4998 pictures, 2499 batches of 2.
train_dataloader = dict(
    batch_size=2,
    drop_last=True,
    sampler=dict(_delete_=True, type='DefaultSampler', shuffle=True),
    dataset=dict(tasks=_base_.tasks, pipeline=_base_.pascal_train_pipeline))
val_dataloader = dict(
    batch_size=2,
    dataset=dict(tasks=_base_.tasks, pipeline=_base_.pascal_test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(
    type='MultiTaskEvaluator',
    tasks=_base_.tasks,
    profile='mtcp',
    data='pascal',
    metrics=dict(saliency=[
        dict(
            type='BinaryFMetric',
            beta2=1.0,
            thresholds=[k / 20 for k in range(4, 19)],
            strict=True,
            average='image')
    ]))
test_evaluator = val_evaluator
visualizer = dict(
    type='DenseLocalVisualizer',
    tasks=_base_.tasks,
    vis_backends=[dict(type='LocalVisBackend')])
