# Taskonomy: 100k iterations * 64 pictures / 3.4 M = 1.9 epochs.
max_iters = 100_000
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='PatternOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=5e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(
        lr_mult={r'^backbone\.': 0.1}, no_decay=[r'relative', r'decoder\.queries']))
param_scheduler = [
    dict(type='WarmupPolyLR', total=max_iters, warmup=5000, power=0.9, by_epoch=False)
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=10_000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
# Batch norm statistics over all devices; ignored on a CPU.
sync_bn = 'torch'
auto_scale_lr = dict(enable=False, base_batch_size=64)
