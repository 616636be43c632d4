# Ablation of components (Table 3a): the mixers and task interaction.
_base_ = ['./demt_swin-t_8xb1-40k_nyud-425x560.py']

model = dict(neck=dict(query=False))
