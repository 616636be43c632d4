# PASCAL-Context, three tasks, resized to 512x512: transforms of ASTMT, scores of MT-CP's released
# code at native size.
_base_ = ['./pascal_3task_mtcp.py']

val_evaluator = dict(metrics=dict(_delete_=True))
test_evaluator = dict(metrics=dict(_delete_=True))
