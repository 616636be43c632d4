# InvPT's schedule: 40 k iterations of 6 pictures (302 epochs of NYUD-v2, 48 of PASCAL-Context).
# Adam with coupled decay, that is L2 on the weights, not AdamW; one rate, no warm-up.
max_iters = 40_000
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='Adam', lr=2e-5, weight_decay=1e-6))
param_scheduler = [dict(type='WarmupPolyLR', total=max_iters, power=0.9, by_epoch=False)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=1000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
# Batch norm statistics over all devices; ignored on a CPU.
sync_bn = 'torch'
auto_scale_lr = dict(enable=False, base_batch_size=6)
