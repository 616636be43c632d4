_base_ = [
    '../_base_/datasets/nyud_4task.py', '../_base_/models/demt_swin-t.py',
    '../_base_/schedules/sgd_40k.py', '../_base_/default_runtime.py'
]

model = dict(
    tasks=_base_.tasks,
    heads=dict(
        semseg=_base_.head,
        depth=_base_.head,
        normal=_base_.head,
        boundary=_base_.head),
    balancer=dict(type='FixedWeights', weights=_base_.task_weights))
train_dataloader = dict(batch_size=1)
val_dataloader = dict(batch_size=1)
test_dataloader = dict(batch_size=1)
