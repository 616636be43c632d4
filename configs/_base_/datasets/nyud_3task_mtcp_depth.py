# NYUD-v2, depth alone; pictures, transforms and scores as in nyud_3task_mtcp.py.
_base_ = ['./nyud_3task_mtcp.py']

alone = dict(depth=_base_.tasks.depth)
tasks = dict(_delete_=True, **alone)
train_dataloader = dict(dataset=dict(tasks=dict(_delete_=True, **alone)))
val_dataloader = dict(dataset=dict(tasks=dict(_delete_=True, **alone)))
test_dataloader = dict(dataset=dict(tasks=dict(_delete_=True, **alone)))
metrics = dict(depth=_base_.val_evaluator.metrics.depth)
for_task = dict(
    tasks=dict(_delete_=True, **alone), metrics=dict(_delete_=True, **metrics))
val_evaluator = for_task
test_evaluator = for_task
visualizer = dict(tasks=dict(_delete_=True, **alone))
