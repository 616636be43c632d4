# ATRC without a backbone: a file per backbone adds it, and the widths that depend on it: c, a
# quarter of the fused channels, is what the heads read.
head = dict(
    type='ConvHead',
    in_index=0,
    num_convs=0,
    align_corners=False,
    dropout_ratio=0.05,
    predictor_std=0.01)
# The multi-task baseline has the same network without the contexts.
baseline_head = dict(
    type='ConvHead',
    in_index=0,
    num_convs=1,
    align_corners=False,
    dropout_ratio=0.05,
    predictor_std=0.01)

model = dict(
    type='DensePredictor',
    data_preprocessor=dict(
        type='DenseDataPreprocessor',
        mean=(123.675, 116.28, 103.53),
        std=(58.395, 57.12, 57.375),
        size_divisor=1))
