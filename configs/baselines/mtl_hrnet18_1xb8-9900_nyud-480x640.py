_base_ = [
    '../_base_/datasets/nyud_2task_survey.py', '../_base_/models/mtl_hrnet18.py',
    '../_base_/schedules/survey_adam_nyud.py', '../_base_/default_runtime.py'
]

model = dict(
    tasks=_base_.tasks,
    data_preprocessor=dict(size=(480, 640)),
    heads=dict(
        semseg=_base_.head,
        depth=_base_.head),
    balancer=dict(type='FixedWeights', weights=_base_.task_weights),
    test_cfg=dict(resized='maps'))
