# Four tasks of NYUD-v2 with the losses and weights of InvPT: those of ATRC, but boundary pixels
# weigh 0.95 (ATRC: 0.8).
_base_ = ['./nyud_4task.py']

tasks = dict(boundary=dict(losses=[dict(type='BalancedBCELoss', positive_weight=0.95)]))
