classes = ('wall', 'floor', 'cabinet', 'bed', 'chair', 'sofa', 'table', 'door', 'window', 'bookshelf',
           'picture', 'counter', 'blinds', 'desk', 'shelves', 'curtain', 'dresser', 'pillow',
           'mirror', 'floor mat', 'clothes', 'ceiling', 'books', 'refrigerator', 'television',
           'paper', 'towel', 'shower curtain', 'box', 'whiteboard', 'person', 'night stand',
           'toilet', 'sink', 'lamp', 'bathtub', 'bag', 'otherstructure', 'otherfurniture',
           'otherprop')

tasks = dict(
    semseg=dict(type='SemSeg', num_classes=40, classes=classes))
