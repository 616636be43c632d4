# Procedural rooms, depth alone; pictures, transforms and scores as in rooms_3task_ctal.py.
_base_ = ['./rooms_3task_ctal.py']

alone = dict(depth=_base_.tasks.depth)
tasks = dict(_delete_=True, **alone)
task_weights = dict(_delete_=True, depth=_base_.task_weights.depth)
train_dataloader = dict(dataset=dict(tasks=dict(_delete_=True, **alone)))
val_dataloader = dict(dataset=dict(tasks=dict(_delete_=True, **alone)))
test_dataloader = dict(dataset=dict(tasks=dict(_delete_=True, **alone)))
val_evaluator = dict(tasks=dict(_delete_=True, **alone))
test_evaluator = dict(tasks=dict(_delete_=True, **alone))
visualizer = dict(tasks=dict(_delete_=True, **alone))
