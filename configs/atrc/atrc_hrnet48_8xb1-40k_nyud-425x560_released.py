# What the released code computes: padding takes part in the contexts.
_base_ = ['./atrc_hrnet48_8xb1-40k_nyud-425x560.py']

model = dict(neck=dict(mask_padding=False))
