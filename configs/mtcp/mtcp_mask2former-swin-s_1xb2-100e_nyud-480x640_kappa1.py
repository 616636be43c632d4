# Weights spread around their mean by 1.0.
_base_ = ['./mtcp_mask2former-swin-s_1xb2-100e_nyud-480x640.py']

model = dict(balancer=dict(spread=1.0))
