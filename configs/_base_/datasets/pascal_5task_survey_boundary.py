# PASCAL-Context, boundaries alone; pictures, transforms and scores as in pascal_5task_survey.py.
_base_ = ['./pascal_5task_survey.py']

alone = dict(boundary=_base_.tasks.boundary)
tasks = dict(_delete_=True, **alone)
task_weights = dict(_delete_=True, boundary=_base_.task_weights.boundary)
train_dataloader = dict(dataset=dict(tasks=dict(_delete_=True, **alone)))
val_dataloader = dict(dataset=dict(tasks=dict(_delete_=True, **alone)))
test_dataloader = dict(dataset=dict(tasks=dict(_delete_=True, **alone)))
val_evaluator = dict(tasks=dict(_delete_=True, **alone))
test_evaluator = dict(tasks=dict(_delete_=True, **alone))
visualizer = dict(tasks=dict(_delete_=True, **alone))
