"""Ground truth and predictions of one picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor

if TYPE_CHECKING:
    from mmdense.tasks import BaseTask


class DenseDataSample(SegDataSample):
    """A ``SegDataSample`` that holds a map per task, so mmseg's tools read it.

    Field names come from the task: ``gt_sem_seg`` and ``pred_sem_seg`` for semantic
    segmentation and ``gt_depth_map``, ``pred_depth_map`` for depth are mmseg's own,
    the others are ``gt_<task>`` and ``pred_<task>``. A picture that lacks a task has
    no ``gt`` field for it.
    """

    def gt(self, task: BaseTask) -> Tensor | None:
        """Ground truth ``(D, H, W)`` of a task, or None where this picture has none."""
        return self._map(f'gt_{task.field}')

    def pred(self, task: BaseTask) -> Tensor | None:
        """Predicted map ``(D, H, W)`` of a task, or None."""
        return self._map(f'pred_{task.field}')

    def set_gt(self, task: BaseTask, value: Tensor) -> None:
        """Store ground truth ``(D, H, W)``."""
        self.set_field(PixelData(data=value), f'gt_{task.field}', dtype=PixelData)

    def set_pred(self, task: BaseTask, value: Tensor) -> None:
        """Store a predicted map ``(D, H, W)``."""
        self.set_field(PixelData(data=value), f'pred_{task.field}', dtype=PixelData)

    def _map(self, field: str) -> Tensor | None:
        value = self.get(field)
        return None if value is None else value.data
