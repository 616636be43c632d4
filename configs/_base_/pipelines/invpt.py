# InvPT's and TaskPrompter's transforms: those of ATRC (see atrc.py) with NYUD-v2 in 448x576.
# Cityscapes, as in TaskPrompter, is resized first, which leaves disparity values alone; unlike
# there the picture has the size of the labels.
nyud_size = (448, 576)  # height, width
pascal_size = (512, 512)
cityscapes_size = (512, 1024)

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

cityscapes_train_pipeline = [
    dict(type='TaskAwareResize', size=cityscapes_size),
    dict(type='TaskAwareRandomScale', scale_range=(0.5, 2.0)),
    dict(type='TaskAwareCrop', size=cityscapes_size, cat_max_ratio=0.75),
    dict(type='TaskAwareFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='TaskAwarePad', size=cityscapes_size, position='center'),
    dict(type='PackDenseInputs')
]
cityscapes_test_pipeline = [
    dict(type='TaskAwareResize', size=cityscapes_size, with_gt=False),
    dict(type='PackDenseInputs')
]
# Ground truth resized too, for TaskPrompter's scores at 512x1024 (with
# model.test_cfg.resize=False).
cityscapes_resized_pipeline = [
    dict(type='TaskAwareResize', size=cityscapes_size),
    dict(type='PackDenseInputs')
]
