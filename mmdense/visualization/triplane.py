"""Pictures of what a triplane regularizer renders."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import torch
from torch import Tensor

from mmdense.models.losses.functional import resize
from mmdense.models.regularizers.functional import RayDetails
from mmdense.tasks import BaseTask

from .panels import resize_tile, scale_tile, tile_grid, titled

Array = np.ndarray


def density_slice(found: RayDetails, size: tuple[int, int], row: int, steps: int = 96) -> Array:
    """Density over depth along a row of the grid, ``(steps, W)``, near in the last line.

    Args:
        found (RayDetails): Of one picture, with weights.
        size (tuple[int, int]): Grid (H, W) of the rays.
        row (int): Row of the grid.
        steps (int): Depths shown, equally spaced over those of the samples.
    """
    if found.z is None or found.weights is None:
        raise ValueError('density_slice: render with details=True, which keeps the weights.')
    z, weights = (t[0].unflatten(0, size)[row].double() for t in (found.z, found.weights))
    weights = weights[:, : z.shape[-1] - 1]
    before = (1 - weights.cumsum(-1) + weights).clamp(min=1e-12)
    stopped = (weights / before).clamp(0, 1 - 1e-12)
    density = -torch.log1p(-stopped) / z.diff().clamp(min=1e-6)
    shown = torch.linspace(float(z.min()), float(z.max()), steps, dtype=z.dtype)
    shown = shown.to(z.device).expand(len(z), steps).contiguous()
    interval = torch.searchsorted(z.contiguous(), shown, right=True) - 1
    picture = density.gather(1, interval.clamp(0, density.shape[1] - 1))
    return picture.mT.flip(0).float().cpu().numpy()


def triplane_panel(
    image: Array,
    tasks: Mapping[str, BaseTask],
    logits: Mapping[str, Tensor],
    details: Mapping[str, RayDetails],
    planes: Tensor,
    names: tuple[str, ...],
    size: tuple[int, int],
    tile_height: int = 144,
) -> Array:
    """A row per task (render, opacity, expected depth, density along a row) and one of planes.

    Args:
        image (Array): ``(H, W, 3)`` uint8, RGB; the row of the density is drawn into it.
        tasks (Mapping[str, BaseTask]): Task key to task.
        logits (Mapping[str, Tensor]): Rendered maps of one picture.
        details (Mapping[str, RayDetails]): Of its rays.
        planes (Tensor): ``(1, P, C, Hp, Wp)``; their norms over channels are shown.
        names (tuple[str, ...]): Of the planes.
        size (tuple[int, int]): Grid (H, W) of the rays.
        tile_height (int): Tiles lower than this are enlarged to it.
    """
    factor = max(1.0, tile_height / image.shape[0])
    tile = (round(image.shape[0] * factor), round(image.shape[1] * factor))
    row = size[0] // 2
    marked = resize_tile(image, tile).copy()
    level = round((row + 0.5) * tile[0] / size[0])
    cv2.line(marked, (0, level), (tile[1] - 1, level), (255, 64, 64), 1)
    rows = []
    for key, task in tasks.items():
        found = details[key]
        pred = task.decode(task.activate(resize(logits[key], tile, False)))[0].float().cpu()
        value = pred[0].numpy() if len(pred) == 1 else pred.permute(1, 2, 0).numpy()
        opacity, depth = (t[0].view(size).float().cpu().numpy() for t in found[3:])
        dense = density_slice(found, size, row)
        rows.append([
            titled(marked, 'image'),
            titled(resize_tile(task.colorize(value), tile, nearest=True), f'{key}: render'),
            _scaled(opacity, 0.0, 1.0, tile, 'opacity'),
            _scaled(depth, float(depth.min()), float(depth.max()), tile, 'expected z'),
            _scaled(dense, 0.0, float(dense.max()), tile, 'density, near below'),
        ])  # fmt: skip
    norms = planes[0].float().norm(dim=1).cpu().numpy()
    rows.append([
        _scaled(norm, float(norm.min()), float(norm.max()), tile, f'plane {name}: norm')
        for name, norm in zip(names, norms)
    ])  # fmt: skip
    return tile_grid(rows)


def _scaled(values: Array, low: float, high: float, tile: tuple[int, int], title: str) -> Array:
    picture = resize_tile(scale_tile(values, low, high), tile, nearest=True)
    return titled(picture, f'{title} [{low:.2g}, {high:.2g}]')


__all__ = ['density_slice', 'triplane_panel']
