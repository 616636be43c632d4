# Three tasks of PASCAL-Context with the losses of MT-CP: cross-entropy, and cross-entropy balanced
# by the share of salient pixels in the batch.
classes = ('background', 'aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair',
           'cow', 'diningtable', 'dog', 'horse', 'motorbike', 'person', 'pottedplant', 'sheep',
           'sofa', 'train', 'tvmonitor')

tasks = dict(
    semseg=dict(type='SemSeg', num_classes=21, classes=classes),
    part=dict(type='Part', num_classes=7),
    saliency=dict(type='Saliency', losses=[dict(type='BalancedBCELoss', positive_weight=None)]))
