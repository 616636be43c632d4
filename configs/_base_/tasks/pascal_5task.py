# Five tasks of PASCAL-Context with the losses and weights of ATRC.
classes = ('background', 'aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair',
           'cow', 'diningtable', 'dog', 'horse', 'motorbike', 'person', 'pottedplant', 'sheep',
           'sofa', 'train', 'tvmonitor')

tasks = dict(
    semseg=dict(type='SemSeg', num_classes=21, classes=classes),
    part=dict(type='Part', num_classes=7),
    saliency=dict(type='Saliency', num_logits=2),
    # Summed over the three components, as in ATRC; MTI-Net takes their mean.
    normal=dict(type='Normal', losses=[dict(type='MaskedL1Loss', channel_reduction='sum')]),
    boundary=dict(type='Boundary', losses=[dict(type='BalancedBCELoss', positive_weight=0.95)]))
task_weights = dict(semseg=1.0, part=2.0, saliency=5.0, normal=10.0, boundary=50.0)
