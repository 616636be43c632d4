# DeMT without a backbone: a file per backbone adds it, and the widths that depend on it.
channels = 256
head = dict(
    type='ConvHead',
    in_channels=channels,
    in_index=0,
    num_convs=1,
    align_corners=False,
    predictor_std=0.01)

model = dict(
    type='DensePredictor',
    data_preprocessor=dict(
        type='DenseDataPreprocessor',
        mean=(123.675, 116.28, 103.53),
        std=(58.395, 57.12, 57.375),
        size_divisor=1),
    neck=dict(type='DeMTNeck', channels=channels))
