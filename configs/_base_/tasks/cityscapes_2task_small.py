# Two tasks of Cityscapes in the small preprocessing: seven categories, and inverse depth as
# the raw disparity over 65535, without a unit.
classes = ('flat', 'construction', 'object', 'nature', 'sky', 'human', 'vehicle')

tasks = dict(
    semseg=dict(type='SemSeg', num_classes=7, classes=classes),
    depth=dict(
        type='Depth', kind='inverse_norm', min_depth=0.0, max_depth=1.0, initial_depth=0.05))
task_weights = dict(semseg=1.0, depth=1.0)
