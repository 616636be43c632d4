_base_ = [
    '../_base_/datasets/nyud_depth.py', '../_base_/models/deeplabv3plus_r50.py',
    '../_base_/schedules/polymax_finetune_40k.py', '../_base_/default_runtime.py'
]

model = dict(
    tasks=_base_.tasks,
    heads=dict(
        # Charbonnier on both data sets, as the paper says.
        depth=dict(losses=[dict(type='CharbonnierLoss', c=1.0)], **_base_.head)))

# No mask transformer, so no relative tables or queries.
optim_wrapper = dict(
    paramwise_cfg=dict(_delete_=True, lr_mult={r'^backbone\.': 0.1}))

load_from = 'work_dirs/deeplabv3plus_r50_8xb8-100k_taskonomy-513x513_depth/iter_100000.pth'
