# Four tasks of NYUD-v2 with the losses and weights of ATRC: cross-entropy, L1, L1 on unit
# normals, and cross-entropy that weighs boundary pixels 0.8.
classes = ('wall', 'floor', 'cabinet', 'bed', 'chair', 'sofa', 'table', 'door', 'window', 'bookshelf',
           'picture', 'counter', 'blinds', 'desk', 'shelves', 'curtain', 'dresser', 'pillow',
           'mirror', 'floor mat', 'clothes', 'ceiling', 'books', 'refrigerator', 'television',
           'paper', 'towel', 'shower curtain', 'box', 'whiteboard', 'person', 'night stand',
           'toilet', 'sink', 'lamp', 'bathtub', 'bag', 'otherstructure', 'otherfurniture',
           'otherprop')

tasks = dict(
    semseg=dict(type='SemSeg', num_classes=40, classes=classes),
    # The protocol scores every known pixel; the range only has to hold them all.
    # Metres without bounds, as in ATRC; clamped only where depth is scored or shown.
    depth=dict(type='Depth', min_depth=0.0, max_depth=100.0, activation='identity'),
    # Summed over the three components, as in ATRC; MTI-Net takes their mean.
    normal=dict(type='Normal', losses=[dict(type='MaskedL1Loss', channel_reduction='sum')]),
    boundary=dict(type='Boundary', losses=[dict(type='BalancedBCELoss', positive_weight=0.8)]))
task_weights = dict(semseg=1.0, depth=1.0, normal=10.0, boundary=50.0)
