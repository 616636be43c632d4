# Weights spread around their mean by 1.6, what the released code computes on this data set.
_base_ = ['./mtcp_mask2former-swin-s_1xb2-100e_pascal-512x512.py']

model = dict(balancer=dict(spread=1.6))
