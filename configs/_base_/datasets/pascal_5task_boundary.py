# PASCAL-Context, boundaries alone; pictures, transforms and scores as in pascal_5task.py.
# Training reads the segmentation too, because the crops look at it.
_base_ = ['./pascal_5task.py']

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
