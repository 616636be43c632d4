# ATRC's transforms, also those of MQTransformer and DeMT: random scale, crop, flip, colours,
# centred padding. Normalisation is the data preprocessor's (ImageNet mean and std). A data set
# config takes the two lists of its data, for example _base_.nyud_train_pipeline.
#
# The crop looks at the segmentation labels: the data set needs the task `semseg` even where
# the model does not. Predictions are cut back to the picture, so tests score native pixels.
# nearest='corner' in TaskAwareRandomScale moves labels as the released code does.
nyud_size = (425, 560)  # height, width
pascal_size = (512, 512)

nyud_train_pipeline = [
    dict(type='TaskAwareRandomScale', scale_range=(0.5, 2.0)),
    dict(type='TaskAwareCrop', size=nyud_size, cat_max_ratio=0.75),
    dict(type='TaskAwareFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='TaskAwarePad', size=nyud_size, position='center'),
    dict(type='PackDenseInputs')
]
nyud_test_pipeline = [
    dict(type='TaskAwarePad', size=nyud_size, position='center', with_gt=False),
    dict(type='PackDenseInputs')
]

pascal_train_pipeline = [
    dict(type='TaskAwareRandomScale', scale_range=(0.5, 2.0)),
    dict(type='TaskAwareCrop', size=pascal_size, cat_max_ratio=0.75),
    dict(type='TaskAwareFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='TaskAwarePad', size=pascal_size, position='center'),
    dict(type='PackDenseInputs')
]
pascal_test_pipeline = [
    dict(type='TaskAwarePad', size=pascal_size, position='center', with_gt=False),
    dict(type='PackDenseInputs')
]
