"""Pictures of dense maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, sqrt
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.dist import master_only
from mmengine.visualization import Visualizer
from torch import Tensor

from mmdense.registry import VISUALIZERS
from mmdense.structures import DenseDataSample
from mmdense.tasks import BaseTask, build_tasks
from mmdense.tasks.drawing import class_names
from mmdense.tasks.labels import class_palette
from mmdense.utils.files import atomic_write_bytes

from .legends import draw_error_legend, draw_legend, draw_swatches
from .overlays import OUTLINES, outline_overlay
from .panels import (
    GAP,
    HEADER,
    below,
    beside,
    error_tile,
    fit_size,
    heat_tile,
    match_size,
    pad_tile,
    resize_tile,
    tile_grid,
    titled,
    write_label,
)
from .stages import MIN_WIDTH

Array = np.ndarray

# Width of the legends beside a row.
_SIDE_LEGEND = 216


@VISUALIZERS.register_module()
class DenseLocalVisualizer(Visualizer):
    """Draws maps of every task: truth, prediction, error, outlines and legends.

    Colours, legends, errors and outlines come from the tasks. Truth and predictions share one
    scale; unknown pixels are black.

    Args:
        tasks (Mapping | None): The tasks of the config.
        tile_height (int): Tiles lower than this are enlarged to it. Defaults to 144.
        max_side (int): Tiles with a longer side are shrunk to it. Defaults to 1024.
        errors (bool): Whether panels have a column of errors beside each prediction.
            Defaults to True.
        legends (bool): Whether legends are drawn. Defaults to True.
        name, vis_backends, save_dir: As in mmengine's ``Visualizer``.
    """

    def __init__(
        self,
        tasks: Mapping[str, Any] | None = None,
        name: str = 'visualizer',
        vis_backends: list[dict[str, Any]] | None = None,
        save_dir: str | None = None,
        tile_height: int = 144,
        max_side: int = 1024,
        errors: bool = True,
        legends: bool = True,
    ) -> None:
        super().__init__(name, vis_backends=vis_backends, save_dir=save_dir)
        self.tasks: dict[str, BaseTask] = build_tasks(tasks) if tasks else {}
        self.tile_height = tile_height
        self.max_side = max_side
        self.errors = errors
        self.legends = legends

    @property
    def dataset_meta(self) -> dict[str, Any] | None:
        """Meta information of the data set, whose class names legends use."""
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, dataset_meta: dict[str, Any]) -> None:
        self._dataset_meta = dataset_meta
        for key, classes in class_names(dataset_meta).items():
            if key in self.tasks:
                self.tasks[key].name_classes(classes)

    # -- rows of samples ------------------------------------------------------

    def titles(self) -> list[str]:
        """Column titles of :meth:`row`."""
        kinds = ['truth', 'prediction', *(['error'] if self.errors else [])]
        return ['image', *(f'{key}: {kind}' for key in self.tasks for kind in kinds)]

    def row(
        self,
        image: Array,
        sample: DenseDataSample,
        references: Mapping[str, Array] | None = None,
    ) -> list[Array]:
        """Tiles of one picture: the image, then truth, prediction and error of each task.

        Args:
            image (Array): ``(H, W, 3)`` uint8, RGB.
            sample (DenseDataSample): Any of its maps may be missing (a black tile).
            references (Mapping | None): Task key to what sets its colours. None: the truth of
                this picture, or what is predicted where there is none.
        """
        size = self._tile_size(image)
        truth, pred = self._maps(sample)
        found = self._references([(truth, pred)]) if references is None else references
        tiles = [resize_tile(image, size)]
        for key, task in self.tasks.items():
            for value in (truth.get(key), pred.get(key)):
                tiles.append(self._map_tile(task, value, found.get(key), size))
            if self.errors:
                off = self._error(task, pred.get(key), truth.get(key))
                tiles.append(self._error_tile(task, off, found.get(key), size))
        return tiles

    def panel(self, images: Sequence[Array], samples: Sequence[DenseDataSample]) -> Array:
        """One picture with a row per sample, and legends below the columns.

        All rows take the tile size of the first picture, and share the colours of a task.
        """
        maps = [self._maps(sample) for sample in samples]
        references = self._references(maps)
        rows = [self.row(*pair, references) for pair in zip(images, samples)]
        size = rows[0][0].shape[:2]
        wide = (size[0], max(size[1], MIN_WIDTH))
        grid = tile_grid(
            [[pad_tile(resize_tile(t, size), wide) for t in row] for row in rows], self.titles()
        )
        if not self.legends:
            return grid
        legends = self._column_legends(maps, references, wide[1])
        return below([grid, beside(legends)]) if legends else grid

    # -- one sample in detail -------------------------------------------------

    def sheet(
        self,
        image: Array,
        truth: Mapping[str, Array] | None = None,
        pred: Mapping[str, Array] | None = None,
    ) -> Array:
        """Everything about one picture.

        With truth and predictions: below the image a row per task with truth, prediction, error
        with its mean, outlines over the picture where the task has some, and legends. With one
        of the two: a grid of maps, each above its legend.

        Args:
            image (Array): ``(H, W, 3)`` uint8, RGB.
            truth (Mapping | None): Task key to ground-truth array, ``(H, W)`` or ``(H, W, D)``;
                any task may be missing.
            pred (Mapping | None): Task key to predicted map.
        """
        truth, pred = dict(truth or {}), dict(pred or {})
        references = self._references([(truth, pred)])
        if truth and pred:
            rows = [titled(resize_tile(image, self._tile_size(image)), 'image')]
            rows += [
                self._task_row(key, image, truth.get(key), pred.get(key), references[key])
                for key in self.tasks
                if key in references
            ]
            return below(rows, gap=2 * GAP)
        size = self._tile_size(image)
        tiles = [titled(pad_tile(resize_tile(image, size), self._wide(size)), 'image')]
        for key, value in (truth or pred).items():
            tiles.append(self._card(key, image, value, references[key]))
        columns = ceil(sqrt(len(tiles)))
        lines = [tiles[i : i + columns] for i in range(0, len(tiles), columns)]
        return below([beside(line) for line in lines], gap=2 * GAP)

    @master_only
    def add_datasample(
        self,
        name: str,
        image: Array,
        data_sample: DenseDataSample | None = None,
        draw_gt: bool = True,
        draw_pred: bool = True,
        show: bool = False,
        wait_time: float = 0,
        out_file: str | Path | None = None,
        step: int = 0,
    ) -> None:
        """Draw the :meth:`sheet` of one picture, to a file, a window or the backends."""
        truth, pred = self._maps(data_sample or DenseDataSample())
        drawn = self.sheet(image, truth if draw_gt else None, pred if draw_pred else None)
        if show:
            self.show(drawn, win_name=name, wait_time=wait_time)
        if out_file is not None:
            save_picture(out_file, drawn)
        else:
            self.add_image(name, drawn, step)

    # -- what heads keep to themselves ----------------------------------------

    def cluster_panel(
        self, image: Array, maps: Array, captions: Sequence[str], columns: int = 6
    ) -> Array:
        """The probability map of every cluster over the picture (PolyMaX, Figure 8).

        Each map is stretched to its own maximum, which its caption tells. The second tile shows
        which cluster is the most probable at each pixel, in the colour of its caption.

        Args:
            image (Array): ``(H, W, 3)`` uint8, RGB.
            maps (Array): ``(K, h, w)`` in [0, 1].
            captions (Sequence[str]): What each map stands for.
            columns (int): Tiles in a row.
        """
        picture = resize_tile(image, self._tile_size(image))
        size = picture.shape[:2]
        colors = class_palette(len(maps))
        strongest = colors[maps.argmax(axis=0)]
        tiles = [
            titled(picture, 'image'),
            titled(resize_tile(strongest, size, nearest=True), 'strongest cluster'),
        ]
        for share, caption, color in zip(maps, captions, colors):
            label = write_label(size[1], f'      {caption} (max {share.max():.2f})')
            label[4 : HEADER - 4, 2 : HEADER - 6] = color
            tiles.append(np.concatenate([label, heat_tile(picture, share)]))
        rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
        return tile_grid(rows)

    # -- pieces ---------------------------------------------------------------

    def _tile_size(self, image: Array) -> tuple[int, int]:
        return fit_size(image.shape, self.tile_height, self.max_side)

    @staticmethod
    def _wide(size: tuple[int, ...]) -> tuple[int, int]:
        return size[0], max(size[1], MIN_WIDTH)

    def _maps(self, sample: DenseDataSample) -> tuple[dict[str, Array], dict[str, Array]]:
        """Truth and predictions of a sample by task key."""
        found: tuple[dict[str, Array], dict[str, Array]] = ({}, {})
        for key, task in self.tasks.items():
            for maps, value in zip(found, (sample.gt(task), sample.pred(task))):
                if value is not None:
                    maps[key] = to_array(value)
        return found

    def _references(
        self, maps: Sequence[tuple[Mapping[str, Array], Mapping[str, Array]]]
    ) -> dict[str, Array]:
        """What sets the colours of each task: all known truth, else everything predicted."""
        found = {}
        for key, task in self.tasks.items():
            truths = [truth[key][task.valid(truth[key])] for truth, _ in maps if key in truth]
            if not any(map(len, truths)):
                truths = [p[key].reshape(-1, *p[key].shape[2:]) for _, p in maps if key in p]
            if truths:
                found[key] = np.concatenate(truths)
        return found

    def _map_tile(
        self, task: BaseTask, value: Array | None, reference: Array | None, size: tuple[int, int]
    ) -> Array:
        if value is None:
            return np.zeros((*size, 3), np.uint8)
        return resize_tile(task.colorize(value, reference), size, nearest=True)

    @staticmethod
    def _error(task: BaseTask, pred: Array | None, truth: Array | None) -> Array | None:
        if pred is None or truth is None:
            return None
        return task.error(match_size(pred, truth.shape[:2]), truth)

    @staticmethod
    def _error_tile(
        task: BaseTask, error: Array | None, reference: Array | None, size: tuple[int, int]
    ) -> Array:
        if error is None or reference is None:
            return np.zeros((*size, 3), np.uint8)
        return resize_tile(error_tile(error, task.error_limit(reference)), size, nearest=True)

    def _column_legends(
        self,
        maps: Sequence[tuple[Mapping[str, Array], Mapping[str, Array]]],
        references: Mapping[str, Array],
        width: int,
    ) -> list[Array]:
        """A legend below the columns of each task, the first column left free."""
        blank = np.full((1, width, 3), 255, np.uint8)
        legends: list[Array] = [blank]
        for key, task in self.tasks.items():
            shown = [m[key] for pair in maps for m in pair if key in m]
            both = 2 * width + GAP
            legend = draw_legend(task, shown, references[key], both) if shown else None
            legends.append(np.full((1, both, 3), 255, np.uint8) if legend is None else legend)
            if self.errors:
                drawn = any(key in truth and key in pred for truth, pred in maps)
                limit = task.error_limit(references[key]) if drawn else 0.0
                legends.append(draw_error_legend(task, limit, width) if drawn else blank)
        return legends

    def _task_row(
        self,
        key: str,
        image: Array,
        truth: Array | None,
        pred: Array | None,
        reference: Array,
    ) -> Array:
        task, size = self.tasks[key], self._tile_size(image)
        tiles = [
            titled(self._map_tile(task, value, reference, size), f'{key}: {kind}')
            for kind, value in (('truth', truth), ('prediction', pred))
        ]
        shown = [value for value in (truth, pred) if value is not None]
        side = [draw_legend(task, shown, reference, _SIDE_LEGEND)] if self.legends else []
        error = self._error(task, pred, truth)
        if error is not None:
            known = error[np.isfinite(error)]
            mean = task.describe_error(float(known.mean())) if known.size else 'unknown'
            drawn = self._error_tile(task, error, reference, size)
            tiles.append(titled(drawn, f'{key}: error {mean}'))
            side.append(draw_error_legend(task, task.error_limit(reference), _SIDE_LEGEND))
        outlines = [None if value is None else task.outline(value) for value in (pred, truth)]
        if any(outline is not None for outline in outlines):
            drawn = outline_overlay(image, outlines[0], outlines[1], size)
            tiles.append(titled(drawn, f'{key}: outlines'))
            colors = np.asarray(list(OUTLINES.values()), np.uint8)
            side.append(draw_swatches(colors, list(OUTLINES), _SIDE_LEGEND))
        legends = [legend for legend in side if legend is not None and self.legends]
        head = [np.full((HEADER, _SIDE_LEGEND, 3), 255, np.uint8)]
        return beside([*tiles, below(head + legends)] if legends else tiles)

    def _card(self, key: str, image: Array, value: Array, reference: Array) -> Array:
        task, size = self.tasks[key], self._tile_size(image)
        wide = self._wide(size)
        tile = titled(pad_tile(self._map_tile(task, value, reference, size), wide), key)
        legend = draw_legend(task, [value], reference, wide[1]) if self.legends else None
        return tile if legend is None else below([tile, legend])


def save_picture(path: str | Path, picture: Array) -> None:
    """Write an RGB picture as PNG, whole or not at all."""
    _, data = cv2.imencode('.png', cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    atomic_write_bytes(path, data.tobytes())


def to_array(chw: Tensor) -> Array:
    """A map ``(D, H, W)`` as tasks take it: ``(H, W)``, or ``(H, W, D)``."""
    array: Array = chw.detach().float().cpu().numpy()
    return array[0] if array.shape[0] == 1 else array.transpose(1, 2, 0)
