_base_ = [
    '../_base_/datasets/pascal_5task_survey.py', '../_base_/models/cross-stitch_r18-os8.py',
    '../_base_/schedules/survey_sgd_pascal.py', '../_base_/default_runtime.py'
]

model = dict(
    tasks=_base_.tasks,
    data_preprocessor=dict(size=(512, 512)),
    backbone=dict(alpha=0.8),
    heads=dict(
        semseg=_base_.head,
        part=_base_.head,
        saliency=_base_.head,
        normal=_base_.head,
        boundary=_base_.head),
    balancer=dict(type='FixedWeights', weights=_base_.task_weights),
    test_cfg=dict(resized='maps'))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(cross_stitch=dict(lr_mult=100.0))))
train_dataloader = dict(batch_size=12)
