# PASCAL-Context, part alone; pictures, transforms and scores as in pascal_3task_mtcp.py.
_base_ = ['./pascal_3task_mtcp.py']

alone = dict(part=_base_.tasks.part)
tasks = dict(_delete_=True, **alone)
train_dataloader = dict(dataset=dict(tasks=dict(_delete_=True, **alone)))
val_dataloader = dict(dataset=dict(tasks=dict(_delete_=True, **alone)))
test_dataloader = dict(dataset=dict(tasks=dict(_delete_=True, **alone)))
for_task = dict(tasks=dict(_delete_=True, **alone), metrics=dict(_delete_=True))
val_evaluator = for_task
test_evaluator = for_task
visualizer = dict(tasks=dict(_delete_=True, **alone))
