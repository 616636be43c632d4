"""Semantic segmentation."""

from mmdense.registry import TASKS

from .labels import LabelTask


@TASKS.register_module()
class SemSeg(LabelTask):
    """Semantic segmentation: one class per pixel, uint8, 255 unknown.

    Loss: pixel cross-entropy. Map: argmax. Headline: mIoU of one confusion matrix.
    Arguments as in :class:`~mmdense.tasks.labels.LabelTask`.
    """

    key = 'semseg'
    aliases = ('seg', 'segmentation')
    field = 'sem_seg'
