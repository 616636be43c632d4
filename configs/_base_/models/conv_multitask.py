# A plain convolutional network: a thin ResNet-18 and one head per task on all its maps.
head = dict(
    type='ConvHead', in_channels=[32, 64, 128, 256], in_index='all', channels=64, num_convs=2)

model = dict(
    type='DensePredictor',
    data_preprocessor=dict(type='DenseDataPreprocessor', size_divisor=32),
    backbone=dict(type='ResNet', depth=18, stem_channels=32, base_channels=32))
