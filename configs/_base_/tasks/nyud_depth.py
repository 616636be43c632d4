# The losses of PolyMaX.
tasks = dict(
    depth=dict(
        type='Depth',
        min_depth=1e-3,
        max_depth=10.0,
        losses=[
            dict(type='SILogLoss', variance_focus=1.0, sqrt=False),
            dict(type='RelativeSquaredErrorLoss'),
            dict(type='MultiScaleGradientLoss', loss_weight=0.5)
        ]))
