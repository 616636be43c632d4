# Two tasks of NYUD-v2 with the losses of the multi-task survey (TPAMI 2021).
_base_ = ['./nyud_semseg.py']

tasks = dict(depth=dict(type='Depth', min_depth=0.0, max_depth=100.0, activation='identity'))
task_weights = dict(semseg=1.0, depth=1.0)
