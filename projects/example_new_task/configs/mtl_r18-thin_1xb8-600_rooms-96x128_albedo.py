"""Albedo beside normals on the procedural rooms: minutes on a CPU, nothing to download.

Written out, so that it runs from any folder.
"""

default_scope = 'mmdense'
custom_imports = dict(imports=['albedo'])

tasks = dict(albedo=dict(type='Albedo'), normal=dict(type='Normal'))

head = dict(
    type='ConvHead', in_channels=[32, 64, 128, 256], in_index='all', channels=64, num_convs=2)
model = dict(
    type='DensePredictor',
    tasks=tasks,
    data_preprocessor=dict(type='DenseDataPreprocessor', size_divisor=32),
    backbone=dict(type='ResNet', depth=18, stem_channels=32, base_channels=32),
    heads=dict(albedo=head, normal=head))

size = (96, 128)  # height, width
dataset = dict(type='RoomsDataset', tasks=tasks, size=size, cache_dir='data/rooms')
train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='SeededInfiniteSampler', shuffle=True),
    dataset=dict(
        dataset,
        split='train',
        length=2000,
        pipeline=[dict(type='TaskAwareFlip', prob=0.5), dict(type='PackDenseInputs')]))
val_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        dataset, split='val', length=200, test_mode=True, pipeline=[dict(type='PackDenseInputs')]))
test_dataloader = val_dataloader
val_evaluator = dict(type='MultiTaskEvaluator', tasks=tasks, metrics=dict())
test_evaluator = val_evaluator
visualizer = dict(
    type='DenseLocalVisualizer', tasks=tasks, vis_backends=[dict(type='LocalVisBackend')])

max_iters = 600
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05))
param_scheduler = [
    dict(type='WarmupPolyLR', total=max_iters, warmup=50, power=0.9, by_epoch=False)
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=300)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    checkpoint=dict(type='AtomicCheckpointHook', by_epoch=False, interval=300),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    iteration_seed=dict(type='IterationSeedHook'),
    balancer=dict(type='BalancerHook'),
    results=dict(type='ResultsHook'),
    visualization=dict(type='DenseVisualizationHook', num_pictures=6))
log_processor = dict(by_epoch=False, window_size=50)
randomness = dict(seed=0)
