"""From the arrays of a sample to what the model takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import PixelData

from mmdense.registry import TRANSFORMS
from mmdense.structures import DenseDataSample

META_KEYS = (
    'img_path',
    'sample_id',
    'sample_idx',
    'ori_shape',
    'img_shape',
    'pad_shape',
    'padding_size',
    'scale_factor',
    'flip',
    'flip_direction',
    'rotation',
    'depth_scale',
    'intrinsics',
    'pose',
    'pair_id',
    'view',
    'unreadable',
    'replaces',
)


@TRANSFORMS.register_module()
class PackDenseInputs(BaseTransform):
    """Pack a sample for the data preprocessor; the last transform of every pipeline.

    Ground truth goes through ``task.after_geometry`` first: a crop of human parts that
    holds no part becomes unknown.

    Args:
        meta_keys (Sequence[str]): Keys that travel in the sample's ``metainfo`` where
            they are present.

    Required keys: img, gt, tasks. Optional: aux, arrays ``(H, W)`` that a metric reads
    besides the ground truth; they become fields ``gt_<name>``.

    Returns:
        dict: ``inputs``, a uint8 tensor ``(3, H, W)``, RGB; ``data_samples``, a
        :class:`~mmdense.structures.DenseDataSample` with a ground truth ``(D, H, W)`` for
        each task that the picture has.
    """

    def __init__(self, meta_keys: Sequence[str] = META_KEYS) -> None:
        self.meta_keys = tuple(meta_keys)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        img = results['img']
        sample = DenseDataSample(
            metainfo={key: results[key] for key in self.meta_keys if key in results}
        )
        for key, gt in results.get('gt', {}).items():
            task = results['tasks'][key]
            sample.set_gt(task, task.to_tensor(task.after_geometry(gt)))
        for name, array in results.get('aux', {}).items():
            data = torch.from_numpy(np.ascontiguousarray(array[None]))
            sample.set_field(PixelData(data=data), f'gt_{name}', dtype=PixelData)
        inputs = torch.from_numpy(np.ascontiguousarray(img.transpose(2, 0, 1)))
        return dict(inputs=inputs, data_samples=sample)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(meta_keys={self.meta_keys})'
