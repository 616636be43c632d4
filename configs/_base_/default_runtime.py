default_scope = 'mmdense'

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='AtomicCheckpointHook', by_epoch=False, interval=2000, max_keep_ckpts=2),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    iteration_seed=dict(type='IterationSeedHook'),
    finite_loss=dict(type='FiniteLossHook'),
    balancer=dict(type='BalancerHook'),
    # Share of the model's keys that a checkpoint given as `load_from` may lack.
    load_report=dict(type='LoadReportHook', max_missing=0.0),
    results=dict(type='ResultsHook'),
    skipped_pictures=dict(type='SkippedPicturesHook'),
    visualization=dict(type='DenseVisualizationHook', num_pictures=6))

env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))

log_processor = dict(by_epoch=False, window_size=50)
log_level = 'INFO'
randomness = dict(seed=0)
load_from = None
resume = False
