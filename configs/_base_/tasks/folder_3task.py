# The number of classes is that of dataset.yml, which names them; a wrong one is refused.
tasks = dict(
    semseg=dict(type='SemSeg', num_classes=13),
    depth=dict(type='Depth', min_depth=1e-3, max_depth=10.0),
    normal=dict(type='Normal'))
