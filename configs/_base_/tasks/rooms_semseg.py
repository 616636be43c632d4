classes = ('bed', 'books', 'ceiling', 'chair', 'floor', 'furniture', 'objects', 'picture', 'sofa', 'table',
           'tv', 'wall', 'window')

tasks = dict(
    semseg=dict(type='SemSeg', num_classes=13, classes=classes))
