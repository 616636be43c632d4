"""From a picture of any size to what a model takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch.nn.functional as F
from mmengine.dataset import Compose
from mmengine.registry import DefaultScope

from mmdense.datasets.transforms import PackDenseInputs, TaskAwarePad, TaskAwareResize
from mmdense.tasks import BaseTask

Array = np.ndarray
Size = tuple[int, int]

#: Pictures with more pixels are shrunk for the network: that of Cityscapes is the largest that
#: published models of this kind are trained on.
MAX_PIXELS = 1024 * 2048
#: Shorter sides are padded to this: the deepest maps of a network need a few pixels.
MIN_SIDE = 32


class InputPipeline:
    """The test pipeline of a config, for pictures of any size.

    - With a frame (a fixed ``size`` of the preprocessor or of ``TaskAwarePad``), larger pictures
      are shrunk into it, the aspect ratio kept: such networks were made for that size.
    - Without, pictures of more than ``max_pixels`` are shrunk to that.
      A side shorter than 32 pixels is padded.

    Predictions come back at the size of the picture in all cases. By the convention for fixed
    resizes, values of depth and normals are not changed by shrinking.

    Args:
        cfg (Mapping): A whole config; ``test_dataloader`` or ``val_dataloader`` hold the pipeline.
            One without any gets ``PackDenseInputs`` alone.
        tasks (Mapping[str, BaseTask]): Of the model.
        frame (tuple[int, int] | None): Fixed height and width of the preprocessor.
        max_pixels (int | None): None: no limit.
    """

    def __init__(
        self,
        cfg: Mapping[str, Any],
        tasks: Mapping[str, BaseTask],
        frame: Size | None = None,
        max_pixels: int | None = MAX_PIXELS,
    ) -> None:
        steps = _find_pipeline(cfg)
        with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'mmdense'):
            self.transforms = Compose(steps if steps else [PackDenseInputs()])
        self.tasks = dict(tasks)
        self.max_pixels = max_pixels
        parts = self.transforms.transforms
        self.resizes = any(isinstance(part, TaskAwareResize) for part in parts)
        padded = [p.size for p in parts if isinstance(p, TaskAwarePad) and p.size is not None]
        self.frame: Size | None = frame if frame is not None else next(iter(padded), None)

    def __call__(
        self, picture: Array, name: str, intrinsics: Array | None = None, shrink: bool = True
    ) -> dict[str, Any]:
        """What the data preprocessor takes, of one picture.

        Args:
            picture (Array): uint8 ``(H, W, 3)``, RGB.
            name (str): For the sample.
            intrinsics (Array | None): Camera matrix.
            shrink (bool): False leaves large pictures as they are (sliding windows).
        """
        native = picture.shape[:2]
        shown = self._shrink(picture) if shrink else picture
        results: dict[str, Any] = dict(
            img=shown,
            gt={},
            tasks=self.tasks,
            rng=np.random.default_rng(0),
            img_path=name,
            sample_id=name,
            sample_idx=0,
            ori_shape=native,
            img_shape=shown.shape[:2],
        )
        if intrinsics is not None:
            factors = np.array([shown.shape[1] / native[1], shown.shape[0] / native[0], 1.0])
            results['intrinsics'] = intrinsics * factors[:, None]
        packed: dict[str, Any] = self.transforms(results)
        # A frame is filled up by whoever set it.
        return packed if self.frame is not None else _pad_short_sides(packed)

    def _shrink(self, picture: Array) -> Array:
        height, width = picture.shape[:2]
        if self.resizes:
            return picture
        if self.frame is not None:
            factor = min(self.frame[0] / height, self.frame[1] / width)
        elif self.max_pixels is not None:
            factor = (self.max_pixels / (height * width)) ** 0.5
        else:
            return picture
        if factor >= 1:
            return picture
        size = max(1, int(height * factor + 1e-6)), max(1, int(width * factor + 1e-6))
        # Pixel areas, not four neighbours: a large picture must not alias.
        smaller: Array = cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA)
        return smaller


def _find_pipeline(cfg: Mapping[str, Any]) -> Sequence[Any]:
    """The first ``pipeline`` of the test or validation data, through wrappers of data sets."""
    for name in ('test_dataloader', 'val_dataloader'):
        waiting = [(cfg.get(name) or {}).get('dataset')]
        while waiting:
            node = waiting.pop(0)
            if isinstance(node, Mapping):
                if node.get('pipeline'):
                    return list(node['pipeline'])
                waiting += [node.get('dataset'), *(node.get('datasets') or [])]
    return []


def _pad_short_sides(packed: dict[str, Any]) -> dict[str, Any]:
    """Pad at the bottom and right, and say so in the sample."""
    inputs, sample = packed['inputs'], packed['data_samples']
    bottom, right = (max(MIN_SIDE - side, 0) for side in inputs.shape[-2:])
    if not bottom and not right:
        return packed
    before = sample.metainfo.get('padding_size', (0, 0, 0, 0))
    padding = (before[0], before[1] + right, before[2], before[3] + bottom)
    sample.set_metainfo(dict(padding_size=padding))
    return dict(packed, inputs=F.pad(inputs, (0, right, 0, bottom)))
