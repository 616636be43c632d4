# The multi-task baseline: fused levels, width reduction, and the heads of DeMT.
_base_ = ['./demt_hrnet48_8xb1-40k_nyud-425x560.py']

model = dict(neck=dict(mixer=False, interaction=False, query=False))
