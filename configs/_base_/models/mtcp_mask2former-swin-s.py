# MT-CP on Mask2Former with Swin-S, trained on ADE20K (mIoU 51.24). Its backbone and its decoders
# come from one file; a class layer is not needed.
checkpoint = 'https://download.openmmlab.com/mmsegmentation/v0.5/mask2former/mask2former_swin-s_8xb2-160k_ade20k-512x512/mask2former_swin-s_8xb2-160k_ade20k-512x512_20221204_143905-e715144e.pth'
channels = 256
head = dict(type='PointwiseHead', in_channels=channels, align_corners=False)
depth_head = dict(
    type='PointwiseDepthHead', in_channels=channels, upsample=2, align_corners=False)
model = dict(
    type='DensePredictor',
    data_preprocessor=dict(
        type='DenseDataPreprocessor',
        mean=(123.675, 116.28, 103.53),
        std=(58.395, 57.12, 57.375),
        size_divisor=32),
    backbone=dict(
        type='SwinTransformer',
        arch='small',
        drop_path_rate=0.3,
        init_cfg=dict(type='Pretrained', checkpoint=checkpoint)),
    neck=dict(
        type='MTCPNeck',
        channels=channels,
        embedding=dict(
            type='Mask2FormerEmbedding',
            in_channels=[96, 192, 384, 768],
            channels=channels,
            init_cfg=dict(type='Pretrained', checkpoint=checkpoint, prefix='decode_head.')),
        # Same numbers, less than a third of the memory, a few percent of the time.
        with_cp=True),
    balancer=dict(type='LossPrioritization', history=3, spread=2.5))
