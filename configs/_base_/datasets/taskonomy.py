# Taskonomy, full+ split by buildings: 3.4 M / 538 K / 629 K pictures of 512x512, padded to
# 513x513. The segmentation labels of the paper were regenerated with a COCO-trained
# kMaX-DeepLab and are not public; `semseg_domain` names a folder of your own.
dataset_type = 'TaskonomyDataset'
data_root = 'data/taskonomy'
crop_size = (513, 513)

semseg_pipeline = [
    dict(type='TaskAwareFlip', prob=0.5),
    dict(type='TaskAwareRandomScale', scale_range=(0.5, 2.0), step=0.1),
    dict(type='TaskAwareCrop', size=crop_size),
    dict(type='ColorPolicy'),
    dict(type='TaskAwarePad', size=crop_size),
    dict(type='PackDenseInputs')
]
depth_pipeline = normal_pipeline = [
    dict(type='TaskAwareFlip', prob=0.5),
    dict(type='RandomBrightnessGamma', prob=0.5),
    dict(type='PackDenseInputs')
]
test_pipeline = [dict(type='PackDenseInputs')]

train_dataloader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='SeededInfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='splits/fullplus_train.txt',
        on_error='skip',
        pipeline=normal_pipeline))
val_dataloader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='splits/fullplus_val.txt',
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='splits/fullplus_test.txt',
        test_mode=True,
        pipeline=test_pipeline))
