# Plain 2-D auxiliary heads of the same capacity in place of planes and rays.
_base_ = './mtl_r18-thin_1xb8-800_rooms-96x128.py'

model = dict(
    regularizers=dict(
        aux_head=dict(type='AuxHeadRegularizer', stride=4, alpha_max=4.0, ramp_fraction=0.5)))
