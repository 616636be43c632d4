classes = ('bed', 'books', 'ceiling', 'chair', 'floor', 'furniture', 'objects', 'picture', 'sofa', 'table',
           'tv', 'wall', 'window')

tasks = dict(
    semseg=dict(type='SemSeg', num_classes=13, classes=classes),
    depth=dict(type='Depth', min_depth=1e-3, max_depth=10.0),
    normal=dict(type='Normal'),
    boundary=dict(type='Boundary'),
    saliency=dict(type='Saliency'),
    part=dict(type='Part'))
