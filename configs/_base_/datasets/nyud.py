# NYUD-v2, 795 / 654 pictures of 480x640 (also the 425x560 packaging), padded to 481x641.
dataset_type = 'NYUDv2Dataset'
data_root = 'data/nyud'
crop_size = (481, 641)

# kMaX-DeepLab's geometry and colours.
semseg_pipeline = [
    dict(type='TaskAwareFlip', prob=0.5),
    dict(type='TaskAwareRandomScale', scale_range=(0.5, 2.0), step=0.1),
    dict(type='TaskAwareCrop', size=crop_size),
    dict(type='ColorPolicy'),
    dict(type='TaskAwarePad', size=crop_size),
    dict(type='PackDenseInputs')
]
# BinsFormer's pipeline, which PolyMaX cites for depth and normals; it has no random scaling,
# and rotation is off for normals. Whole frames instead of its 416x544 crops.
depth_pipeline = [
    dict(type='TaskAwareRotate', degrees=2.5, prob=0.5),
    dict(type='TaskAwareFlip', prob=0.5),
    dict(type='RandomBrightnessGamma', prob=0.5),
    dict(type='PackDenseInputs')
]
normal_pipeline = [
    dict(type='TaskAwareFlip', prob=0.5),
    dict(type='RandomBrightnessGamma', prob=0.5),
    dict(type='PackDenseInputs')
]
test_pipeline = [dict(type='PackDenseInputs')]

train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='SeededInfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='gt_sets/train.txt',
        pipeline=normal_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='gt_sets/val.txt',
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = val_dataloader
