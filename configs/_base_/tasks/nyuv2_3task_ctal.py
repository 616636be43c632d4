# Three tasks of NYUv2 in the 13-class preprocessing with the losses of CTAL: cross-entropy, L1 on
# depth in metres without bounds, one minus the cosine.
classes = ('bed', 'books', 'ceiling', 'chair', 'floor', 'furniture', 'objects', 'picture', 'sofa', 'table',
           'tv', 'wall', 'window')

tasks = dict(
    semseg=dict(type='SemSeg', num_classes=13, classes=classes),
    depth=dict(type='Depth', min_depth=0.0, max_depth=100.0, activation='identity'),
    normal=dict(type='Normal', losses=[dict(type='CosineLoss')]))
task_weights = dict(semseg=1.0, depth=1.0, normal=1.0)
