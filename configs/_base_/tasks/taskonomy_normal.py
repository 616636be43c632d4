# The losses of PolyMaX.
tasks = dict(
    normal=dict(type='Normal', losses=[dict(type='MaskedL2Loss')]))
