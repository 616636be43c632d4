# Ablation of the depth of the mixers (Table 3b): 2 blocks per task.
_base_ = ['./demt_swin-t_8xb1-40k_nyud-425x560.py']

model = dict(neck=dict(depth=2))
