# All pairs of tasks use local context.
_base_ = ['./atrc_hrnet18_8xb1-40k_pascal-512x512.py']

model = dict(neck=dict(genotype='all-2'))
