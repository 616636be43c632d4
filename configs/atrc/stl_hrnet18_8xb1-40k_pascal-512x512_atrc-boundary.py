_base_ = [
    '../_base_/datasets/pascal_5task_boundary.py', '../_base_/models/atrc_hrnet18.py',
    '../_base_/schedules/sgd_40k.py', '../_base_/default_runtime.py'
]

model = dict(
    tasks=_base_.tasks,
    neck=dict(type='MultiScaleFusion', in_channels=_base_.levels),
    heads=dict(boundary=_base_.baseline_head),
    balancer=dict(type='FixedWeights', weights=_base_.task_weights))
optim_wrapper = dict(optimizer=dict(lr=0.005))
train_dataloader = dict(batch_size=1)
val_dataloader = dict(batch_size=1)
test_dataloader = dict(batch_size=1)
