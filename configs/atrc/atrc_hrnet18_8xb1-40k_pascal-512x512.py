_base_ = [
    '../_base_/datasets/pascal_5task.py', '../_base_/models/atrc_hrnet18.py',
    '../_base_/tasks/pascal_5task_auxiliary.py',
    '../_base_/schedules/sgd_40k.py', '../_base_/default_runtime.py'
]

model = dict(
    tasks=_base_.tasks,
    neck=dict(
        type='RelationalContext',
        in_channels=_base_.levels,
        genotype='pascal-hrnet18',
        auxiliary_tasks=_base_.auxiliary_tasks),
    heads=dict(
        semseg=_base_.head,
        part=_base_.head,
        saliency=_base_.head,
        normal=dict(**_base_.head, intermediate_task=_base_.auxiliary_tasks.normal),
        boundary=dict(**_base_.head, intermediate_task=_base_.auxiliary_tasks.boundary)),
    balancer=dict(type='FixedWeights', weights=_base_.task_weights))
optim_wrapper = dict(optimizer=dict(lr=0.005))
train_dataloader = dict(batch_size=1)
val_dataloader = dict(batch_size=1)
test_dataloader = dict(batch_size=1)
