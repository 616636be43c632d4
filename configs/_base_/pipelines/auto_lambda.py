# Auto-Lambda's transforms: random scale, crop, reflected padding where the scaled picture is
# smaller (targets are unknown there), flip. Disparity is multiplied by the factor, metric depth
# divided. Padding after the crop gives what padding before it would, and takes less time.
nyuv2_size = (288, 384)  # height, width
cityscapes_size = (256, 512)
scales = (1.0, 1.2, 1.5)

nyuv2_train_pipeline = [
    dict(type='TaskAwareRandomScale', scales=scales),
    dict(type='TaskAwareCrop', size=nyuv2_size),
    dict(type='TaskAwarePad', size=nyuv2_size, mode='reflect'),
    dict(type='TaskAwareFlip', prob=0.5),
    dict(type='PackDenseInputs')
]
nyuv2_test_pipeline = [dict(type='PackDenseInputs')]

cityscapes_train_pipeline = [
    dict(type='TaskAwareRandomScale', scales=scales),
    dict(type='TaskAwareCrop', size=cityscapes_size),
    dict(type='TaskAwarePad', size=cityscapes_size, mode='reflect'),
    dict(type='TaskAwareFlip', prob=0.5),
    dict(type='PackDenseInputs')
]
cityscapes_test_pipeline = [dict(type='PackDenseInputs')]
