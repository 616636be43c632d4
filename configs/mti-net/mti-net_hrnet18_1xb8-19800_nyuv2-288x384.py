_base_ = [
    '../_base_/datasets/nyuv2_3task_ctal.py', '../_base_/models/mti-net_hrnet18.py',
    '../_base_/schedules/ctal_nyuv2.py', '../_base_/default_runtime.py'
]

model = dict(
    tasks=_base_.tasks,
    data_preprocessor=dict(size=(288, 384)),
    heads=dict(
        semseg=_base_.head,
        depth=_base_.head,
        normal=_base_.head),
    balancer=dict(type='FixedWeights', weights=_base_.task_weights))
