_base_ = '../invpt/invpt_vit-tiny_1xb8-600_rooms-96x128.py'

model = dict(
    regularizers=dict(
        triplane=dict(
            type='TriplaneRegularizer',
            feature='backbone',
            in_channels=[192, 192, 192, 192],
            render_stride=4, coarse=16, fine=16,
            alpha_max=4.0, ramp_fraction=0.5)))
custom_hooks = [dict(type='RegularizerPicturesHook', interval=200)]
