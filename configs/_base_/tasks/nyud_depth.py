tasks = dict(
    depth=dict(type='Depth', min_depth=1e-3, max_depth=10.0))
