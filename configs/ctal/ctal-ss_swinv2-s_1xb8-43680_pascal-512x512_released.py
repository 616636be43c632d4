# What the released code computes: one joint affinity for all tasks; a weight decay of 1e-5;
# segmentation weighs 2 (1 in all baselines); scores of saliency and boundaries after a second
# sigmoid.
_base_ = ['./ctal-ss_swinv2-s_1xb8-43680_pascal-512x512.py']

model = dict(
    neck=dict(affinity=dict(joint_affinity='shared')),
    balancer=dict(weights=dict(semseg=2.0)))
optim_wrapper = dict(optimizer=dict(weight_decay=1e-5))
released_metrics = dict(
    saliency=[dict(type='BinaryFMetric', sigmoid_again=True)],
    boundary=[
        dict(type='EdgeLossMetric', positive_weight=0.95, logit_of_probability=False)
    ])
val_evaluator = dict(metrics=released_metrics)
test_evaluator = dict(metrics=released_metrics)
