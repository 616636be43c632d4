_base_ = [
    '../_base_/datasets/pascal_5task_boundary.py', '../_base_/models/mtl_swinv2-s.py',
    '../_base_/schedules/ctal_pascal.py', '../_base_/default_runtime.py'
]

model = dict(
    tasks=_base_.tasks,
    data_preprocessor=dict(size=(512, 512)),
    heads=dict(boundary=_base_.head),
    balancer=dict(type='FixedWeights', weights=_base_.task_weights))
val_evaluator = dict(profile='ctal')
test_evaluator = dict(profile='ctal')
