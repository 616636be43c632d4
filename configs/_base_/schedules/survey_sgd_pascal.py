# Cross-Stitch and NDDR-CNN in the multi-task survey, PASCAL-Context: 20 epochs of 4998 // 12
# iterations.
max_iters = 8_320
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=5e-3, momentum=0.9, weight_decay=1e-4))
param_scheduler = [dict(type='WarmupPolyLR', total=max_iters, power=0.9, by_epoch=False)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=1664)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=12)
