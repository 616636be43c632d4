# What ATRC's auxiliary maps predict, where it is not what the task predicts: classes.
auxiliary_tasks = dict(
    depth=dict(
        type='BinnedDepth', low=0.7, high=10.0, num_bins=16, min_depth=1e-3, max_depth=10.0),
    normal=dict(type='CentroidNormal', num_centroids=16),
    boundary=dict(type='Boundary', num_logits=2),
    saliency=dict(type='Saliency', num_logits=2))
