# PAD-Net as CTAL compares with it: initial heads, gated messages among the tasks.
_base_ = ['./mtl_swinv2-s.py']

head = dict(in_channels=256)
model = dict(
    neck=dict(
        initial_heads=dict(type='InitialTaskHeads', in_channels=768),
        distillation=dict(type='PADDistillation', channels=256)))
