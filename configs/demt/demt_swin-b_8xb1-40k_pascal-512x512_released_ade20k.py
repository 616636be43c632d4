_base_ = ['./demt_swin-b_8xb1-40k_pascal-512x512_released.py']

model = dict(backbone=dict(init_cfg=dict(_delete_=True, **_base_.ade20k)))
