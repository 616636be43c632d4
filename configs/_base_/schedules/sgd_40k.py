# ATRC's and DeMT's schedule: 40 k iterations of 8 pictures in all (403 epochs of NYUD-v2, 64 of
# PASCAL-Context), one rate, no warm-up, weight decay on every parameter.
max_iters = 40_000
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=1e-3, momentum=0.9, weight_decay=5e-4))
param_scheduler = [dict(type='WarmupPolyLR', total=max_iters, power=0.9, by_epoch=False)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=4000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
# Batch norm statistics over all devices; ignored on a CPU.
sync_bn = 'torch'
auto_scale_lr = dict(enable=False, base_batch_size=8)
