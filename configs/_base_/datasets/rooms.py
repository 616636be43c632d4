# Procedural rooms: nothing to download. Pictures are rendered once and kept in `cache_dir`.
dataset_type = 'RoomsDataset'
size = (96, 128)  # height, width
cache_dir = 'data/rooms'

train_pipeline = [
    dict(type='TaskAwareFlip', prob=0.5),
    dict(type='PackDenseInputs')
]
test_pipeline = [dict(type='PackDenseInputs')]

train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='SeededInfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        split='train',
        length=2000,
        size=size,
        cache_dir=cache_dir,
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        split='val',
        length=200,
        size=size,
        cache_dir=cache_dir,
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = val_dataloader
