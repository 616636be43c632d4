_base_ = ['./demt_swin-t_8xb1-40k_nyud-425x560.py']

model = dict(backbone=dict(init_cfg=dict(_delete_=True, **_base_.ade20k)))
