# NYUD-v2, normal alone; pictures, transforms and scores as in nyud_3task_mtcp.py.
_base_ = ['./nyud_3task_mtcp.py']

alone = dict(normal=_base_.tasks.normal)
tasks = dict(_delete_=True, **alone)
train_dataloader = dict(dataset=dict(tasks=dict(_delete_=True, **alone)))
val_dataloader = dict(dataset=dict(tasks=dict(_delete_=True, **alone)))
test_dataloader = dict(dataset=dict(tasks=dict(_delete_=True, **alone)))
metrics = dict(normal=_base_.val_evaluator.metrics.normal)
for_task = dict(
    tasks=dict(_delete_=True, **alone), metrics=dict(_delete_=True, **metrics))
val_evaluator = for_task
test_evaluator = for_task
visualizer = dict(tasks=dict(_delete_=True, **alone))
