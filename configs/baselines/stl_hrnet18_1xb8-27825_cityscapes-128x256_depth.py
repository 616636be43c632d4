_base_ = [
    '../_base_/datasets/cityscapes_small_2task_ctal_depth.py', '../_base_/models/mtl_hrnet18.py',
    '../_base_/schedules/ctal_cityscapes.py', '../_base_/default_runtime.py'
]

model = dict(
    tasks=_base_.tasks,
    data_preprocessor=dict(size=(128, 256)),
    heads=dict(depth=_base_.head),
    balancer=dict(type='FixedWeights', weights=_base_.task_weights))
