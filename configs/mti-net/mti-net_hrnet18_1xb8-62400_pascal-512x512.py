_base_ = [
    '../_base_/datasets/pascal_5task_survey.py', '../_base_/models/mti-net_hrnet18_survey.py',
    '../_base_/schedules/survey_adam_pascal.py', '../_base_/default_runtime.py'
]

model = dict(
    tasks=_base_.tasks,
    data_preprocessor=dict(size=(512, 512)),
    heads=dict(
        semseg=_base_.head,
        part=_base_.head,
        saliency=_base_.head,
        normal=_base_.head,
        boundary=_base_.head),
    balancer=dict(type='FixedWeights', weights=_base_.task_weights),
    test_cfg=dict(resized='maps'))
