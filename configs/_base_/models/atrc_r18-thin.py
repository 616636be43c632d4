# ATRC on the thin ResNet-18 of conv_multitask.py, for the procedural rooms on a CPU. Fused width
# 480, c = 64, d = 32.
_base_ = ['./conv_multitask.py']

levels = [32, 64, 128, 256]
head = dict(
    _delete_=True,
    type='ConvHead',
    in_channels=64,
    in_index=0,
    num_convs=0,
    align_corners=False,
    dropout_ratio=0.05)
baseline_head = dict(
    type='ConvHead',
    in_channels=480,
    in_index=0,
    channels=64,
    num_convs=1,
    align_corners=False,
    dropout_ratio=0.05)
