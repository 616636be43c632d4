# LibMTL's transforms, after PAD-Net and MTI-Net: zoom into a window at constant size, and flip.
# The stored size is kept (NYUv2 288x384, Cityscapes 128x256). nearest='corner' moves labels as
# the released code does.
nyuv2_train_pipeline = cityscapes_train_pipeline = [
    dict(
        type='TaskAwareRandomScaleCrop',
        scales=(1.0, 1.2, 1.5),
        align_corners=True,
        interpolation=dict(normal='linear')),
    dict(type='TaskAwareFlip', prob=0.5),
    dict(type='PackDenseInputs')
]
nyuv2_test_pipeline = cityscapes_test_pipeline = [dict(type='PackDenseInputs')]
