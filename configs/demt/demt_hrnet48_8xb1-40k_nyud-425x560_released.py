# What the released code computes: attention over the tasks at one pixel, absolute coordinates in
# the offsets, no norms ahead of the attention.
_base_ = ['./demt_hrnet48_8xb1-40k_nyud-425x560.py']

model = dict(neck=dict(released=True))
