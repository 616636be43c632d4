# Procedural rooms, normals alone; pictures, transforms and scores as in rooms_3task_ctal.py.
_base_ = ['./rooms_3task_ctal.py']

alone = dict(normal=_base_.tasks.normal)
tasks = dict(_delete_=True, **alone)
task_weights = dict(_delete_=True, normal=_base_.task_weights.normal)
train_dataloader = dict(dataset=dict(tasks=dict(_delete_=True, **alone)))
val_dataloader = dict(dataset=dict(tasks=dict(_delete_=True, **alone)))
test_dataloader = dict(dataset=dict(tasks=dict(_delete_=True, **alone)))
val_evaluator = dict(tasks=dict(_delete_=True, **alone))
test_evaluator = dict(tasks=dict(_delete_=True, **alone))
visualizer = dict(tasks=dict(_delete_=True, **alone))
