# NYUD-v2, semseg alone; pictures, transforms and scores as in nyud_3task_mtcp.py.
_base_ = ['./nyud_3task_mtcp.py']

alone = dict(semseg=_base_.tasks.semseg)
tasks = dict(_delete_=True, **alone)
train_dataloader = dict(dataset=dict(tasks=dict(_delete_=True, **alone)))
val_dataloader = dict(dataset=dict(tasks=dict(_delete_=True, **alone)))
test_dataloader = dict(dataset=dict(tasks=dict(_delete_=True, **alone)))
for_task = dict(tasks=dict(_delete_=True, **alone), metrics=dict(_delete_=True))
val_evaluator = for_task
test_evaluator = for_task
visualizer = dict(tasks=dict(_delete_=True, **alone))
