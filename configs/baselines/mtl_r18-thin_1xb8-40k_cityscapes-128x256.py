_base_ = [
    '../_base_/datasets/cityscapes_small_2task.py', '../_base_/models/conv_multitask_imagenet.py',
    '../_base_/schedules/adamw_40k.py', '../_base_/default_runtime.py'
]

model = dict(
    tasks=_base_.tasks,
    heads=dict(
        semseg=_base_.head,
        depth=_base_.head),
    balancer=dict(type='FixedWeights', weights=_base_.task_weights))
