# Own pictures: a folder per task, and a dataset.yml that says what is in them. Pictures of any size
# are trained and predicted at `size`; scores are at the size of the pictures.
dataset_type = 'FolderDataset'
data_root = 'data/folder'
size = (96, 128)  # height, width

train_pipeline = [
    dict(type='TaskAwareFlip', prob=0.5),
    dict(type='TaskAwareRandomScaleCrop', scales=None, scale_range=(1.0, 1.5)),
    dict(type='TaskAwareResize', size=size),
    dict(type='RandomBrightnessGamma', prob=0.5),
    dict(type='PackDenseInputs')
]
test_pipeline = [
    dict(type='TaskAwareResize', size=size, with_gt=False),
    dict(type='PackDenseInputs')
]

train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='SeededInfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type, data_root=data_root, split='train', pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        split='val',
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = val_dataloader
