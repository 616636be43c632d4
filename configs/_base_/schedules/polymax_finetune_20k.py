# NYUD-v2: 20k iterations * 16 pictures / 795 = 403 epochs.
_base_ = ['./polymax_pretrain_100k.py']
max_iters = 20_000
optim_wrapper = dict(optimizer=dict(lr=5e-5))
param_scheduler = [
    dict(type='WarmupPolyLR', total=max_iters, warmup=1000, power=0.9, by_epoch=False)
]
train_cfg = dict(max_iters=max_iters, val_interval=2000)
auto_scale_lr = dict(base_batch_size=16)
