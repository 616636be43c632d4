"""FCN as mmsegmentation builds and trains it, with a 3D-aware branch on its backbone in training.

Model, data and schedule are those of the project next door; its learned weights are left out.
"""

_base_ = '../../balance_mmseg_auxiliary/configs/fcn_r18-uncertainty_4xb2-80k_cityscapes-512x1024.py'

custom_imports = dict(imports=['mmdense'])

custom_hooks = [
    dict(
        type='mmdense.RegularizerHook',
        priority='VERY_HIGH',
        feature='backbone',
        regularizer=dict(
            type='mmdense.TriplaneRegularizer',
            tasks=dict(semseg=dict(type='mmdense.SemSeg', num_classes=19)),
            alpha_max=4.0,
            ramp_fraction=0.5,
        ),
    )
]

# The weight of the second head that mmsegmentation gives it.
model = dict(auxiliary_head=dict(loss_decode=dict(loss_weight=0.4)))
