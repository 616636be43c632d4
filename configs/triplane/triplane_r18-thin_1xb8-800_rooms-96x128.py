# The multi-task baseline with the triplane regularizer on the encoder's features.
_base_ = './mtl_r18-thin_1xb8-800_rooms-96x128.py'

model = dict(
    regularizers=dict(
        triplane=dict(
            type='TriplaneRegularizer',
            feature='backbone',
            # Rays every 4 pixels and 16 + 16 depths: 24 x 32 rays, a sixteenth of the work of NYUD-v2.
            render_stride=4, coarse=16, fine=16,
            alpha_max=4.0, ramp_fraction=0.5)))
custom_hooks = [dict(type='RegularizerPicturesHook', interval=200)]
