# Procedural rooms, segmentation alone; pictures, transforms and scores as in rooms_3task_ctal.py.
_base_ = ['./rooms_3task_ctal.py']

alone = dict(semseg=_base_.tasks.semseg)
tasks = dict(_delete_=True, **alone)
task_weights = dict(_delete_=True, semseg=_base_.task_weights.semseg)
train_dataloader = dict(dataset=dict(tasks=dict(_delete_=True, **alone)))
val_dataloader = dict(dataset=dict(tasks=dict(_delete_=True, **alone)))
test_dataloader = dict(dataset=dict(tasks=dict(_delete_=True, **alone)))
val_evaluator = dict(tasks=dict(_delete_=True, **alone))
test_evaluator = dict(tasks=dict(_delete_=True, **alone))
visualizer = dict(tasks=dict(_delete_=True, **alone))
