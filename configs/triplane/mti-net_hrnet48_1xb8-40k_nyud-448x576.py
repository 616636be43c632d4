# MTI-Net with the transforms, losses and weights of InvPT, without the regularizer.
_base_ = [
    '../_base_/datasets/nyud_4task_invpt.py', '../_base_/models/mti-net_hrnet48.py',
    '../_base_/schedules/adam_40k_invpt.py', '../_base_/default_runtime.py'
]

model = dict(
    tasks=_base_.tasks,
    heads=dict(
        semseg=_base_.head,
        depth=_base_.head,
        normal=_base_.head,
        boundary=_base_.head),
    balancer=dict(type='FixedWeights', weights=_base_.task_weights))
optim_wrapper = dict(optimizer=dict(lr=1e-4, weight_decay=1e-4))
auto_scale_lr = dict(base_batch_size=8)
