# The losses of PolyMaX.
# 16-bit depth saturates at 128 m; the saturated value is unknown.
tasks = dict(
    depth=dict(
        type='Depth',
        min_depth=1e-3,
        max_depth=127.99,
        losses=[dict(type='CharbonnierLoss', c=1.0)]))
