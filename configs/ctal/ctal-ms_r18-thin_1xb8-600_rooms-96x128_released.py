# What the released code computes: one joint affinity for all tasks, and feature propagation weighs
# neighbouring channels.
_base_ = ['./ctal-ms_r18-thin_1xb8-600_rooms-96x128.py']

model = dict(
    neck=dict(initial_heads=dict(fpm_softmax='released'), affinity=dict(joint_affinity='shared')))
