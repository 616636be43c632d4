# What the released code computes: one joint affinity for all tasks.
_base_ = ['./ctal-ss_r18-thin_1xb8-600_rooms-96x128.py']

model = dict(neck=dict(affinity=dict(joint_affinity='shared')))
