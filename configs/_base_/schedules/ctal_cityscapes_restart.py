# CTAL on the small Cityscapes for the multi-scale models: the cosine restarts after 25 epochs and
# takes 50 the second time (SGDR, T_0 = 25, T_mult = 2). It moves with every iteration; the
# released code moves once per epoch, and restarts one epoch late.
_base_ = ['./ctal_cityscapes.py']

param_scheduler = [
    dict(
        type='CosineRestartLR',
        periods=[25 * _base_.epoch, 50 * _base_.epoch],
        restart_weights=[1, 1],
        eta_min=0.0,
        by_epoch=False)
]
