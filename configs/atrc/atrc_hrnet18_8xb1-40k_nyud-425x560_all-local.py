# All pairs of tasks use local context.
_base_ = ['./atrc_hrnet18_8xb1-40k_nyud-425x560.py']

model = dict(neck=dict(genotype='all-2'))
