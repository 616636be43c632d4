# Table 4 of the paper: number of depth clusters (16 in the main configuration).
_base_ = './polymax_convnext-l_8xb2-40k_nyud-481x641_depth.py'

model = dict(heads=dict(depth=dict(num_clusters=8)))

# Taskonomy pre-training has 16 queries; others start afresh.
default_hooks = dict(load_report=dict(drop=[r'value_head', r'decoder\.queries']))
