# InvPT without a backbone: a file per backbone adds it, and the widths that depend on it.
channels = 576
head = dict(type='ConvHead', in_channels=channels, in_index=0, num_convs=0, align_corners=False)

model = dict(
    type='DensePredictor',
    data_preprocessor=dict(
        type='DenseDataPreprocessor',
        mean=(123.675, 116.28, 103.53),
        std=(58.395, 57.12, 57.375),
        size_divisor=1))
