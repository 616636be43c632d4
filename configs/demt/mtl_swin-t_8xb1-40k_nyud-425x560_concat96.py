# The published multi-task baseline, as far as its number of parameters tells: every task has one
# 3x3 convolution from the fused levels to 96 channels.
_base_ = ['./mtl_swin-t_8xb1-40k_nyud-425x560.py']

head = dict(in_channels=[96, 192, 384, 768], in_index='all', channels=96)
model = dict(
    neck=None,
    heads=dict(
        semseg=head,
        depth=head,
        normal=head,
        boundary=head))
