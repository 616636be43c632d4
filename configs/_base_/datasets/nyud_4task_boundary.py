# NYUD-v2, boundaries alone; pictures, transforms and scores as in nyud_4task.py.
# Training reads the segmentation too, because the crops look at it.
_base_ = ['./nyud_4task.py']

alone = dict(boundary=_base_.tasks.boundary)
tasks = dict(_delete_=True, **alone)
task_weights = dict(_delete_=True, boundary=_base_.task_weights.boundary)
train_dataloader = dict(
    dataset=dict(tasks=dict(_delete_=True, semseg=_base_.tasks.semseg, **alone)))
val_dataloader = dict(dataset=dict(tasks=dict(_delete_=True, **alone)))
test_dataloader = dict(dataset=dict(tasks=dict(_delete_=True, **alone)))
val_evaluator = dict(tasks=dict(_delete_=True, **alone))
test_evaluator = dict(tasks=dict(_delete_=True, **alone))
visualizer = dict(tasks=dict(_delete_=True, **alone))
