# Three tasks of NYUD-v2 with the losses of MT-CP's paper: cross-entropy, L1, and L1 on unit
# normals averaged over the components.
classes = ('wall', 'floor', 'cabinet', 'bed', 'chair', 'sofa', 'table', 'door', 'window', 'bookshelf',
           'picture', 'counter', 'blinds', 'desk', 'shelves', 'curtain', 'dresser', 'pillow',
           'mirror', 'floor mat', 'clothes', 'ceiling', 'books', 'refrigerator', 'television',
           'paper', 'towel', 'shower curtain', 'box', 'whiteboard', 'person', 'night stand',
           'toilet', 'sink', 'lamp', 'bathtub', 'bag', 'otherstructure', 'otherfurniture',
           'otherprop')

tasks = dict(
    semseg=dict(type='SemSeg', num_classes=40, classes=classes),
    # Every known pixel is trained and scored; the range only has to hold them all.
    depth=dict(type='Depth', min_depth=0.0, max_depth=100.0, activation='identity'),
    normal=dict(type='Normal', losses=[dict(type='MaskedL1Loss', channel_reduction='mean')]))
