"""What a network says before its maps are decoded."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmdense.structures import DenseDataSample

from .results import RawMap

Padding = tuple[int, int, int, int]


def raw_maps(
    model: Any, inputs: Tensor, data_samples: list[DenseDataSample]
) -> tuple[list[DenseDataSample], list[dict[str, RawMap]]]:
    """Predictions of a batch, and what they were decoded from; the backbone runs once.

    Args:
        model (DensePredictor): In evaluation mode.
        inputs (Tensor): ``(B, 3, H, W)``, normalised.
        data_samples (list[DenseDataSample]): One per picture.

    Returns:
        tuple: The samples with predictions, and task key to :class:`RawMap` for each.
    """
    size = (inputs.shape[-2], inputs.shape[-1])
    feats = model.extract_feat(inputs, supervised=False, data_samples=data_samples)
    found: list[dict[str, RawMap]] = [{} for _ in data_samples]
    maps = {}
    paddings = [sample.metainfo.get('padding_size', (0, 0, 0, 0)) for sample in data_samples]
    for key, head in model.heads.items():
        maps[key] = pred = head.predict(feats, size)
        explained = head.explain(feats)
        for index, padding in enumerate(paddings):
            raw = RawMap(_to_array(without_padding(pred[index], padding, size)))
            for name, (shares, meanings) in explained.items():
                raw.shares[name] = _to_array(without_padding(shares[index], padding, size))
                raw.meanings[name] = _to_array(meanings[index])
            found[index][key] = raw
    samples: list[DenseDataSample] = model.attach(maps, data_samples)
    return samples, found


def without_padding(maps: Tensor, padding: Padding, size: tuple[int, int]) -> Tensor:
    """The cells of maps ``(C, h, w)`` whose centres show the picture.

    Args:
        maps (Tensor): On any grid over the input.
        padding (Padding): Left, right, top and bottom, in pixels of the input.
        size (tuple[int, int]): Height and width of the input.
    """
    left, right, top, bottom = padding
    rows = _inside(maps.shape[-2], size[0], top, bottom)
    columns = _inside(maps.shape[-1], size[1], left, right)
    return maps[..., rows, columns]


def _inside(cells: int, pixels: int, before: int, after: int) -> slice:
    centers = (np.arange(cells) + 0.5) * (pixels / cells)
    inside = np.flatnonzero((centers > before) & (centers < pixels - after))
    if not len(inside):  # less than half a cell of picture: the cell that holds its middle
        middle = min(int((before + pixels - after) / 2 * cells / pixels), cells - 1)
        return slice(middle, middle + 1)
    return slice(int(inside[0]), int(inside[-1]) + 1)


def _to_array(tensor: Tensor) -> np.ndarray:
    array: np.ndarray = tensor.detach().to(torch.float32).cpu().numpy()
    # A copy: a view would keep the batch, padding and all.
    return np.ascontiguousarray(array) if array.base is None else array.copy()


__all__ = ['raw_maps', 'without_padding']
