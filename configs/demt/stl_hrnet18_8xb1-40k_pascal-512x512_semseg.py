_base_ = [
    '../_base_/datasets/pascal_5task_semseg.py', '../_base_/models/demt_hrnet18.py',
    '../_base_/schedules/sgd_40k.py', '../_base_/default_runtime.py'
]

model = dict(
    tasks=_base_.tasks,
    neck=dict(mixer=False, interaction=False, query=False),
    heads=dict(semseg=_base_.head),
    balancer=dict(type='FixedWeights', weights=_base_.task_weights))
train_dataloader = dict(batch_size=1)
val_dataloader = dict(batch_size=1)
test_dataloader = dict(batch_size=1)
