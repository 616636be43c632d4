_base_ = ['./ctal-ss_hrnet18_1xb8-19800_nyuv2-288x384.py']

model = dict(neck=dict(affinity=dict(gamma=0.1)))
