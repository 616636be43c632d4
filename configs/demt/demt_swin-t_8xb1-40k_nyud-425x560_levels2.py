# Ablation of scales (Table 3c): strides 4 and 8.
_base_ = ['./demt_swin-t_8xb1-40k_nyud-425x560.py']

model = dict(neck=dict(in_index=[0, 1]))
# Later stages of the backbone get no gradient.
find_unused_parameters = True
