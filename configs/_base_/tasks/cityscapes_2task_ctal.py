# Two tasks of the small Cityscapes with the losses and weights of CTAL: cross-entropy over all 19
# classes, and L1 on inverse depth without bounds.
classes = ('road', 'sidewalk', 'building', 'wall', 'fence', 'pole', 'traffic light', 'traffic sign',
           'vegetation', 'terrain', 'sky', 'person', 'rider', 'car', 'truck', 'bus', 'train',
           'motorcycle', 'bicycle')

tasks = dict(
    semseg=dict(type='SemSeg', num_classes=19, classes=classes),
    depth=dict(
        type='Depth',
        kind='inverse_norm',
        min_depth=0.0,
        max_depth=1.0,
        initial_depth=0.05,
        activation='identity'))
task_weights = dict(semseg=1.0, depth=10.0)
