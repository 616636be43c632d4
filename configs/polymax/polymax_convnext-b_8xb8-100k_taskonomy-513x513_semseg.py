_base_ = [
    '../_base_/datasets/taskonomy_semseg.py', '../_base_/models/polymax_convnext-b.py',
    '../_base_/schedules/polymax_pretrain_100k.py', '../_base_/default_runtime.py'
]

model = dict(
    tasks=_base_.tasks,
    heads=dict(
        semseg=dict(
            type='ClusterSegHead',
            in_channels=_base_.decoder_channels,
            seg_loss=dict(type='KMaXSegLoss'),
            auxiliary_semantic=dict(
                type='AuxiliarySemanticDecoder', in_channels=_base_.backbone_channels))))
