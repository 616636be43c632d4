# MT-CP on a small Mask2Former with the thin ResNet-18, from scratch, for the procedural rooms on a
# CPU. Needs mmdet, and mmcv with its compiled ops.
_base_ = ['./mtcp_r18-thin.py']

model = dict(
    neck=dict(
        embedding=dict(
            _delete_=True,
            type='Mask2FormerEmbedding',
            in_channels=[32, 64, 128, 256],
            channels=32,
            num_queries=20,
            encoder_layers=2,
            decoder_layers=3,
            num_heads=4,
            encoder_channels=128,
            decoder_channels=128)))
