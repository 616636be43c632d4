_base_ = './mti-net_hrnet48_1xb8-40k_nyud-448x576.py'

model = dict(
    regularizers=dict(
        triplane=dict(
            type='TriplaneRegularizer',
            feature='backbone',
            in_channels=[48, 96, 192, 384],
            alpha_max=4.0,
            ramp_iters=20_000)))
custom_hooks = [dict(type='RegularizerPicturesHook', interval=1000)]
