# All pairs of tasks use the label maps of the source.
_base_ = ['./atrc_hrnet18_8xb1-40k_nyud-425x560.py']

model = dict(neck=dict(genotype='all-4'))
