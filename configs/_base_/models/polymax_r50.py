# PolyMaX: kMaX-DeepLab's trunk; the heads are added per task. Pictures are normalised to
# [-1, 1] and padded to n * 32 + 1, also with ImageNet weights (the kMaX convention).
backbone_channels = [256, 512, 1024, 2048]
decoder_channels = [256, 512, 1024, 2048]

model = dict(
    type='DensePredictor',
    data_preprocessor=dict(
        type='DenseDataPreprocessor',
        mean=127.5,
        std=127.5,
        size_divisor=32,
        size_remainder=1),
    backbone=dict(
        type='ResNet',
        depth=50,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50')),
    neck=dict(type='KMaXPixelDecoder', in_channels=backbone_channels))

# One per task; the losses of depth and normals are those of the tasks.
semseg_head = dict(
    type='ClusterSegHead',
    in_channels=decoder_channels,
    auxiliary_semantic=dict(type='AuxiliarySemanticDecoder', in_channels=backbone_channels))
depth_head = dict(type='ClusterBinDepthHead', in_channels=decoder_channels, num_clusters=16)
normal_head = dict(type='SphereSegmentNormalHead', in_channels=decoder_channels, num_clusters=8)
