# DeMT on the thin ResNet-18 of conv_multitask.py, for the procedural rooms on a CPU.
_base_ = ['./conv_multitask.py']

channels = 64
head = dict(
    in_channels=channels, in_index=0, channels=channels, num_convs=1, align_corners=False)
model = dict(
    neck=dict(
        type='DeMTNeck',
        in_channels=[32, 64, 128, 256],
        channels=channels,
        # 24x32 maps: cells of 4 leave 48 keys per task.
        kv_stride=4))
