# The five tasks of most multi-task papers on Taskonomy; L1 for all but segmentation.
tasks = dict(
    semseg=dict(type='SemSeg', num_classes=17),
    depth=dict(type='Depth', min_depth=0.0, max_depth=127.99),
    normal=dict(type='Normal'),
    keypoints2d=dict(type='Keypoints2D'),
    edge_texture=dict(type='EdgeTexture'))
task_weights = dict(semseg=1.0, depth=1.0, normal=1.0, keypoints2d=1.0, edge_texture=1.0)
