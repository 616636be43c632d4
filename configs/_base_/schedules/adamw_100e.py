# MT-CP's schedule: 100 epochs of AdamW, one rate and weight decay for every parameter, polynomial
# decay from epoch to epoch, no warm-up, no clipping. Scored every 10 epochs and after each of the
# last 10. Holds the runtime too, which counts epochs here.
_base_ = ['../default_runtime.py']

max_epochs = 100
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=5e-5, betas=(0.9, 0.999), weight_decay=1e-4))
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=max_epochs, by_epoch=True)
]
train_cfg = dict(
    type='EpochBasedTrainLoop',
    max_epochs=max_epochs,
    val_interval=10,
    dynamic_intervals=[(91, 1)])
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(
    logger=dict(log_metric_by_epoch=True),
    checkpoint=dict(by_epoch=True, interval=10))
log_processor = dict(by_epoch=True)
auto_scale_lr = dict(enable=False, base_batch_size=2)
