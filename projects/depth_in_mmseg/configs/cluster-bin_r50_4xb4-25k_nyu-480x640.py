"""Depth as a soft choice among 16 adaptive bins, in mmsegmentation's model, data and runner.

Written out: `_base_ = 'mmseg::...'` finds the original distribution of mmsegmentation only.
"""

default_scope = 'mmseg'
custom_imports = dict(imports=['dense_decode_head'])

max_depth = 10.0  # metres
norm_cfg = dict(type='SyncBN', requires_grad=True)

channels = 256
decode_head = dict(
    type='DenseDecodeHead',
    task=dict(type='Depth', min_depth=1e-3, max_depth=max_depth),
    head=dict(
        type='ClusterBinDepthHead',
        in_channels=[channels] * 4,
        num_clusters=16,
        losses=[
            dict(type='SILogLoss', variance_focus=0.85, sqrt=True, loss_weight=1.0),
            dict(type='RelativeSquaredErrorLoss', loss_weight=0.1),
        ],
    ),
)

model = dict(
    type='DepthEstimator',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        # Beyond max_depth, so that no loss counts padding.
        seg_pad_val=255,
        size=(480, 640)),
    backbone=dict(
        type='ResNetV1c',
        depth=50,
        norm_cfg=norm_cfg,
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://resnet50_v1c')),
    neck=dict(
        type='FPN', in_channels=[256, 512, 1024, 2048], out_channels=channels, num_outs=4),
    decode_head=decode_head,
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))

data_root = 'data/nyu'
loading = [
    dict(type='LoadImageFromFile'),
    # 16-bit PNG in millimetres.
    dict(type='LoadDepthAnnotation', depth_rescale_factor=1e-3),
]
packing = dict(
    type='PackSegInputs',
    meta_keys=('img_path', 'depth_map_path', 'ori_shape', 'img_shape', 'pad_shape',
               'scale_factor', 'flip', 'flip_direction', 'category_id'))
train_pipeline = [*loading, dict(type='RandomFlip', prob=0.5), packing]
test_pipeline = [*loading, packing]
train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='NYUDataset',
        data_root=data_root,
        data_prefix=dict(img_path='images/train', depth_map_path='annotations/train'),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='NYUDataset',
        test_mode=True,
        data_root=data_root,
        data_prefix=dict(img_path='images/test', depth_map_path='annotations/test'),
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='DepthMetric', min_depth_eval=1e-3, max_depth_eval=max_depth, crop_type='nyu_crop')
test_evaluator = val_evaluator

train_cfg = dict(type='IterBasedTrainLoop', max_iters=25_000, val_interval=2500)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=1000),
    dict(type='PolyLR', eta_min=0.0, power=0.9, begin=1000, end=25_000, by_epoch=False),
]
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2500))
log_processor = dict(by_epoch=False)
