# The regularizer of the NYUD-v2 config, at the size of rooms: 12 x 16 rays of 64 + 64 depths.
_base_ = '../invpt/invpt_vit-b_1xb2-800_rooms-96x128.py'

model = dict(
    regularizers=dict(
        triplane=dict(
            type='TriplaneRegularizer',
            feature='backbone',
            in_channels=[768, 768, 768, 768],
            alpha_max=4.0, ramp_fraction=0.5)))
custom_hooks = [dict(type='RegularizerPicturesHook', interval=200)]
