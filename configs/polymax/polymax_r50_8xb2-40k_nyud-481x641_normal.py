_base_ = [
    '../_base_/datasets/nyud_normal.py', '../_base_/models/polymax_r50.py',
    '../_base_/schedules/polymax_finetune_40k.py', '../_base_/default_runtime.py'
]

model = dict(
    tasks=_base_.tasks,
    heads=dict(
        normal=dict(
            type='SphereSegmentNormalHead',
            in_channels=_base_.decoder_channels,
            num_clusters=8,
            losses=[dict(type='MaskedL2Loss')])))

load_from = 'work_dirs/polymax_r50_8xb8-100k_taskonomy-513x513_normal/iter_100000.pth'
