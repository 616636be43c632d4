# Ablation of components (Table 3a): the baseline and the deformable mixers.
_base_ = ['./demt_swin-t_8xb1-40k_nyud-425x560.py']

model = dict(neck=dict(interaction=False, query=False))
