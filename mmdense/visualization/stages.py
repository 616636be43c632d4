"""One picture on its way through a pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mmdense.tasks import BaseTask

from .legends import draw_legend
from .panels import below, beside, fit_size, pad_tile, resize_tile, titled

Array = np.ndarray

#: A column narrower than this has no room for its legend.
MIN_WIDTH = 112


class Stage(NamedTuple):
    """A picture with its ground truth at one point of a pipeline.

    Attributes:
        title: What has been done to it.
        image: ``(H, W, 3)`` uint8, RGB.
        gt: Task key to ground-truth array; any may be missing.
    """

    title: str
    image: Array
    gt: Mapping[str, Array]


def stage_panel(
    stages: Sequence[Stage],
    tasks: Mapping[str, BaseTask],
    tile_height: int = 144,
    max_side: int = 1024,
) -> Array:
    """A row per stage: the image, then the ground truth of each task; legends below.

    Colours are those of the first stage, so a change of values (depth of a picture that is
    enlarged, normals of one that is mirrored) shows. Every picture is fitted into a tile of the
    size of the first; ground truth that is missing is black.

    Args:
        stages (Sequence[Stage]): At least one.
        tasks (Mapping[str, BaseTask]): Task key to task: the columns.
        tile_height (int): Tiles lower than this are enlarged to it.
        max_side (int): Tiles with a longer side are shrunk to it.
    """
    box = fit_size(stages[0].image.shape, tile_height, max_side)
    wide = (box[0], max(box[1], MIN_WIDTH))
    references = {
        key: next((stage.gt[key] for stage in stages if key in stage.gt), None) for key in tasks
    }
    rows = []
    for stage in stages:
        tiles = [titled(_fit(stage.image, box, wide, nearest=False), stage.title)]
        for key, task in tasks.items():
            if key in stage.gt:
                drawn = task.colorize(stage.gt[key], references[key])
            else:
                drawn = np.zeros_like(stage.image)
            tiles.append(titled(_fit(drawn, box, wide), key))
        rows.append(beside(tiles))
    blank = np.full((1, wide[1], 3), 255, np.uint8)
    legends = [blank]
    for key, task in tasks.items():
        shown = [stage.gt[key] for stage in stages if key in stage.gt]
        legend = draw_legend(task, shown, references[key], wide[1]) if shown else None
        legends.append(blank if legend is None else legend)
    return below([*rows, beside(legends)])


def _fit(
    picture: Array, box: tuple[int, int], size: tuple[int, int], nearest: bool = True
) -> Array:
    """A picture as large as fits into ``box``, with white to the right of it and below."""
    height, width = picture.shape[:2]
    factor = min(box[0] / height, box[1] / width)
    fitted = max(round(height * factor), 1), max(round(width * factor), 1)
    return pad_tile(resize_tile(picture, fitted, nearest=nearest), size)
