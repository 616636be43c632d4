_base_ = ['./nyud.py', '../tasks/nyud_depth.py']

train_dataloader = dict(dataset=dict(tasks=_base_.tasks, pipeline=_base_.depth_pipeline))
val_dataloader = dict(dataset=dict(tasks=_base_.tasks))
test_dataloader = dict(dataset=dict(tasks=_base_.tasks))
# Monocular depth counts pixels of this range and cuts predictions to it.
depth_range = dict(min_depth=1e-3, max_depth=10.0, clamp='range')
val_evaluator = dict(
    type='MultiTaskEvaluator',
    tasks=_base_.tasks,
    metrics=dict(depth=[
        # The protocol of the tables: per picture, Eigen crop; then the two others in use.
        dict(type='DepthMetric', average='image', crop='eigen', **depth_range),
        dict(type='DepthMetric', prefix='depth_pooled', crop='eigen', **depth_range),
        dict(type='DepthMetric', prefix='depth_full', **depth_range)
    ]))
test_evaluator = val_evaluator
visualizer = dict(
    type='DenseLocalVisualizer',
    tasks=_base_.tasks,
    vis_backends=[dict(type='LocalVisBackend')])
