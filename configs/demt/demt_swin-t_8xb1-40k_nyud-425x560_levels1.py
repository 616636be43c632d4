# Ablation of scales (Table 3c): stride 4 alone.
_base_ = ['./demt_swin-t_8xb1-40k_nyud-425x560.py']

model = dict(neck=dict(in_index=[0]))
# Later stages of the backbone get no gradient.
find_unused_parameters = True
