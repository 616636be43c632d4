# Log smoothing alone: the sum of log(1 + loss).
_base_ = ['./mtcp_mask2former-swin-s_1xb2-100e_nyud-480x640.py']

model = dict(balancer=dict(log_mode='loss', prioritize=False))
