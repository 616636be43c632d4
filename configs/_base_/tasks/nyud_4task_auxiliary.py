# What ATRC's auxiliary maps predict, where it is not what the task predicts: classes.
auxiliary_tasks = dict(
    depth=dict(
        type='BinnedDepth', low=0.7, high=10.0, num_bins=40, min_depth=0.0, max_depth=100.0),
    # Directions spread evenly over the half sphere that faces the camera; a file of
    # tools/misc/normal_centroids.py as `centroids` takes those of the training normals.
    normal=dict(type='CentroidNormal', num_centroids=40),
    boundary=dict(
        type='Boundary',
        num_logits=2,
        losses=[dict(type='BalancedBCELoss', positive_weight=0.8)]))
