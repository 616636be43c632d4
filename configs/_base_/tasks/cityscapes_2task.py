# Two tasks of Cityscapes at full resolution: 19 classes, and disparity in pixels, scored as
# TaskPrompter does, above 0 (sky) and below 80.
classes = ('road', 'sidewalk', 'building', 'wall', 'fence', 'pole', 'traffic light', 'traffic sign',
           'vegetation', 'terrain', 'sky', 'person', 'rider', 'car', 'truck', 'bus', 'train',
           'motorcycle', 'bicycle')

tasks = dict(
    semseg=dict(type='SemSeg', num_classes=19, classes=classes),
    depth=dict(
        type='Depth', kind='disparity_px', min_depth=0.0, max_depth=500.0, initial_depth=10.0))
task_weights = dict(semseg=1.0, depth=1.0)
