# What ATRC's auxiliary maps predict, where it is not what the task predicts: classes.
auxiliary_tasks = dict(
    # Directions spread evenly over the half sphere that faces the camera; a file of
    # tools/misc/normal_centroids.py as `centroids` takes those of the training normals.
    normal=dict(type='CentroidNormal', num_centroids=40),
    boundary=dict(
        type='Boundary',
        num_logits=2,
        losses=[dict(type='BalancedBCELoss', positive_weight=0.95)]))
