# The 133 classes of COCO panoptic, those of the regenerated labels.
tasks = dict(semseg=dict(type='SemSeg', num_classes=133))
