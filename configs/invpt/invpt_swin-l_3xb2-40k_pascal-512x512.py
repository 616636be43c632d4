_base_ = [
    '../_base_/datasets/pascal_5task_invpt.py', '../_base_/models/invpt_swin-l.py',
    '../_base_/schedules/adam_40k_invpt.py', '../_base_/default_runtime.py'
]

model = dict(
    tasks=_base_.tasks,
    heads=dict(
        semseg=_base_.head,
        part=_base_.head,
        saliency=_base_.head,
        normal=_base_.head,
        boundary=_base_.head),
    balancer=dict(type='FixedWeights', weights=_base_.task_weights))
train_dataloader = dict(batch_size=2)
val_dataloader = dict(batch_size=1)
test_dataloader = dict(batch_size=1)
