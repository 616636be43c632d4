# The networks of CTAL's comparison on the thin ResNet-18 of conv_multitask.py, for the procedural
# rooms on a CPU: widths are about a quarter of CTAL's. Pictures of every size are padded to the one
# that the affinities are made for.
_base_ = ['./conv_multitask.py']

head = dict(
    _delete_=True,
    type='HRHead',
    in_channels=[32, 64, 128, 256],
    channels=128,
    align_corners=False,
    intermediate_reduction='mean')
model = dict(data_preprocessor=dict(size=(96, 128)))
