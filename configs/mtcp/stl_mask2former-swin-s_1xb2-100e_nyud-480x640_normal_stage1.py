# The single-task model of the released code: the head on the first stage of the decoder.
_base_ = ['./stl_mask2former-swin-s_1xb2-100e_nyud-480x640_normal.py']

model = dict(
    heads=dict(normal=dict(upsample=2)),
    neck=dict(decoder_output='stage1'))
