# From scratch on the procedural rooms: minutes on two cores.
max_iters = 900
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=4e-3, betas=(0.9, 0.99), weight_decay=0.01, fused=True),
    clip_grad=dict(max_norm=5.0))
param_scheduler = [
    dict(type='WarmupPolyLR', total=max_iters, warmup=50, power=0.9, by_epoch=False)
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=450)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
