# Short schedule for the procedural rooms on a CPU: 800 iterations of 8 pictures.
_base_ = ['./adamw_600.py']

max_iters = 800
param_scheduler = [
    dict(type='WarmupPolyLR', total=max_iters, warmup=50, power=0.9, by_epoch=False)
]
train_cfg = dict(max_iters=max_iters, val_interval=400)
