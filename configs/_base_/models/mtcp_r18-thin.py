# MT-CP on the thin ResNet-18 of conv_multitask.py, whose levels HRNet's fusion makes one map of, for
# the procedural rooms on a CPU. Needs neither mmdet nor compiled ops.
channels = 32
head = dict(type='PointwiseHead', in_channels=channels, align_corners=False)
depth_head = dict(
    type='PointwiseDepthHead', in_channels=channels, upsample=2, align_corners=False)
model = dict(
    type='DensePredictor',
    data_preprocessor=dict(type='DenseDataPreprocessor', size_divisor=32),
    backbone=dict(type='ResNet', depth=18, stem_channels=32, base_channels=32),
    neck=dict(
        type='MTCPNeck',
        channels=channels,
        embedding=dict(type='HRFusion', in_channels=[32, 64, 128, 256], channels=channels)),
    # 50 iterations stand for an epoch: one of 2000 pictures has 250, and 600 iterations would be too
    # few of them for a history of 3.
    balancer=dict(type='LossPrioritization', history=3, spread=2.5, interval=50))
