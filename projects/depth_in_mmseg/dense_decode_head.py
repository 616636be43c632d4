"""A task and a head of mmdense as a decode head of mmsegmentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS as SEGMENTOR_PARTS
from torch import Tensor

from mmdense.registry import MODELS, TASKS
from mmdense.structures import DenseFeatures
from mmdense.tasks import BaseTask

Size = tuple[int, int]


@SEGMENTOR_PARTS.register_module()
class DenseDecodeHead(BaseModule):
    """One task of mmdense, with its head and losses, as the ``decode_head`` of a segmentor.

    mmsegmentation trains it through :meth:`loss` and tests it through :meth:`predict`. Depth goes
    into mmsegmentation's ``DepthEstimator``, an ``EncoderDecoder`` whose results are depth maps.
    Ground truth is read from the field that both code bases call by one name, ``gt_depth_map``.

    Args:
        task (dict): Config of the task, such as ``dict(type='Depth', max_depth=10.0)``.
        head (dict): Config of the head, such as ``dict(type='ClusterBinDepthHead', ...)``.
        align_corners (bool): For the resizing that mmsegmentation does itself.
        init_cfg (dict | None): Initialisation config of mmengine.

    Raises:
        KeyError: If a type is none of mmdense's.
    """

    def __init__(
        self,
        task: Mapping[str, Any],
        head: Mapping[str, Any],
        align_corners: bool = False,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        # The running config looks for types in mmsegmentation; what is built here is mmdense's.
        with DefaultScope.overwrite_default_scope('mmdense'):
            self.task: BaseTask = TASKS.build(dict(task))
            self.head = MODELS.build(
                dict(head), default_args=dict(task=self.task, align_corners=align_corners)
            )
        # What a segmentor asks of its decode head.
        self.align_corners = align_corners
        self.num_classes = self.out_channels = self.task.gt_channels

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Raw output of the head ``(B, C, h, w)`` from maps ``(B, C_i, h_i, w_i)``."""
        output: Tensor = self.head(_features(inputs))
        return output

    def loss(
        self, inputs: Sequence[Tensor], batch_data_samples: Sequence[Any], train_cfg: Any = None
    ) -> dict[str, Tensor]:
        """Losses of the head; the segmentor puts ``decode.`` before their names.

        Pixels that mmsegmentation padded have its ``seg_pad_val``, 255, which is beyond the depth
        range of a room. For a task to which 255 is a value, set another ``seg_pad_val``.
        """
        field = f'gt_{self.task.field}'
        target = torch.stack([sample.get(field).data for sample in batch_data_samples])
        feats = _features(inputs, _size(target))
        losses: dict[str, Tensor] = self.head.loss(feats, target, self.task.valid_mask(target))
        return losses

    def predict(
        self, inputs: Sequence[Tensor], batch_img_metas: Sequence[dict], test_cfg: Any = None
    ) -> Tensor:
        """Decoded maps ``(B, D, H, W)`` of the size of the network's input."""
        meta = batch_img_metas[0]
        # In a sliding window mmsegmentation writes the size of the window, a torch.Size.
        window = isinstance(meta['img_shape'], torch.Size) or 'pad_shape' not in meta
        height, width = meta['img_shape' if window else 'pad_shape'][:2]
        size = (int(height), int(width))
        return self.task.decode(self.head.predict(_features(inputs, size), size))


def _features(inputs: Sequence[Tensor], size: Size | None = None) -> DenseFeatures:
    maps = tuple(inputs)
    return DenseFeatures(shared=maps, backbone=maps, image_size=size)


def _size(maps: Tensor) -> Size:
    return maps.shape[-2], maps.shape[-1]
