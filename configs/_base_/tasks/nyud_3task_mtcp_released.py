# The losses of MT-CP's released code: depth below 6.5535 m only, and the squared error of normals
# as the network gives them, of any length.
_base_ = ['./nyud_3task_mtcp.py']

tasks = dict(
    depth=dict(max_depth=6.5535),
    normal=dict(
        activation='identity',
        losses=[dict(type='MaskedL2Loss', channel_reduction='mean')]))
