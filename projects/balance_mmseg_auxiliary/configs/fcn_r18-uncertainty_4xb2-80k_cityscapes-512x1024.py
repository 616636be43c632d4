"""FCN with an auxiliary head, as mmsegmentation builds it, with learned weights of the two heads.

Written out: `_base_ = 'mmseg::...'` finds the original distribution of mmsegmentation only.
"""

default_scope = 'mmseg'
custom_imports = dict(imports=['mmdense'])

custom_hooks = [
    dict(
        type='mmdense.LossBalancerHook',
        tasks=dict(decode=r'^decode\.', aux=r'^aux\.'),
        balancer=dict(type='UncertaintyWeights', classification=['decode', 'aux']),
    )
]

norm_cfg = dict(type='SyncBN', requires_grad=True)
head = dict(
    type='FCNHead',
    num_classes=19,
    concat_input=False,
    dropout_ratio=0.1,
    norm_cfg=norm_cfg,
    align_corners=False,
    # The balance of the two losses is learned; 0.4 for the auxiliary one would be in its way.
    loss_decode=dict(type='CrossEntropyLoss', loss_weight=1.0))
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(512, 1024)),
    backbone=dict(
        type='ResNetV1c',
        depth=18,
        dilations=(1, 1, 2, 4),
        strides=(1, 2, 1, 1),
        norm_cfg=norm_cfg,
        contract_dilation=True,
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://resnet18_v1c')),
    decode_head=dict(head, in_channels=512, in_index=3, channels=128, num_convs=2),
    auxiliary_head=dict(head, in_channels=256, in_index=2, channels=64, num_convs=1),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))

data_root = 'data/cityscapes'
loading = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
]
train_pipeline = [
    *loading,
    dict(type='RandomResize', scale=(2048, 1024), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(512, 1024), cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    loading[0],
    dict(type='Resize', scale=(2048, 1024), keep_ratio=True),
    loading[1],
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=2,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='CityscapesDataset',
        data_root=data_root,
        data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CityscapesDataset',
        data_root=data_root,
        data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val'),
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator

train_cfg = dict(type='IterBasedTrainLoop', max_iters=80_000, val_interval=8000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0005))
param_scheduler = dict(type='PolyLR', eta_min=1e-4, power=0.9, end=80_000, by_epoch=False)
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=8000))
log_processor = dict(by_epoch=False)
