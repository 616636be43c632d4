# A PolyMaX for a CPU: ConvNeXt-Atto, a narrow trunk and two decoder layers, everything else as
# published. Norm statistics move faster than in the long schedules.
backbone_channels = [40, 80, 160, 320]
decoder_channels = [64, 128, 256, 512]
decoder = dict(
    type='KMaXTransformerDecoder',
    layers_per_scale=(0, 1, 1),
    query_dim=128,
    base_filters=64,
    num_heads=4,
    ffn_dim=512,
    predictor_hidden=64,
    embed_dim=64,
    drop_path=0.0,
    bn_momentum=0.1)

model = dict(
    type='DensePredictor',
    data_preprocessor=dict(
        type='DenseDataPreprocessor', mean=127.5, std=127.5, size_divisor=32),
    backbone=dict(type='ConvNeXt', arch='atto', layer_scale_init=1.0),
    neck=dict(
        type='KMaXPixelDecoder',
        in_channels=backbone_channels,
        widths=(128, 64, 32, 16),
        num_blocks=(1, 1, 1, 1),
        num_heads=4,
        bn_momentum=0.1))
