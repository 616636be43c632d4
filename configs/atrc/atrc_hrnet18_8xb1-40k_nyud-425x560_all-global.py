# All pairs of tasks use global context.
_base_ = ['./atrc_hrnet18_8xb1-40k_nyud-425x560.py']

model = dict(neck=dict(genotype='all-1'))
