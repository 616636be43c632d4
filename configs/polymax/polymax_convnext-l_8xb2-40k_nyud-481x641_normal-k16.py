# Table 5 of the paper: number of clusters of normals (8 in the main configuration).
_base_ = './polymax_convnext-l_8xb2-40k_nyud-481x641_normal.py'

model = dict(heads=dict(normal=dict(num_clusters=16)))

# Taskonomy pre-training has 8 queries; others start afresh.
default_hooks = dict(load_report=dict(drop=[r'decoder\.queries']))
