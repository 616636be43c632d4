_base_ = '../invpt/invpt_vit-l_3xb2-40k_pascal-512x512.py'

model = dict(
    regularizers=dict(
        triplane=dict(
            type='TriplaneRegularizer',
            feature='backbone',
            in_channels=[1024, 1024, 1024, 1024],
            alpha_max=4.0,
            ramp_iters=20_000)))
custom_hooks = [dict(type='RegularizerPicturesHook', interval=1000)]
