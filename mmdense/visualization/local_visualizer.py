"""Pictures of dense maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from mmdense.utils.files import atomic_write_bytes

from .panels import heat_tile, resize_tile, tile_grid, write_label

Array = np.ndarray


@VISUALIZERS.register_module()
class DenseLocalVisualizer(Visualizer):
    """Draws image | ground truth | prediction for every task.

    Colours come from the tasks; ground truth and prediction of one picture share one
    scale. Unknown pixels are black.

    Args:
        tasks (Mapping | None): The tasks of the config.
        tile_height (int): Tiles lower than this are enlarged to it. Defaults to 144.
        name, vis_backends, save_dir: As in mmengine's ``Visualizer``.
    """

    def __init__(
        self,
        tasks: Mapping[str, Any] | None = None,
        name: str = 'visualizer',
        vis_backends: list[dict[str, Any]] | None = None,
        save_dir: str | None = None,
        tile_height: int = 144,
    ) -> None:
        super().__init__(name, vis_backends=vis_backends, save_dir=save_dir)
        self.tasks: dict[str, BaseTask] = build_tasks(tasks) if tasks else {}
        self.tile_height = tile_height

    def titles(self) -> list[str]:
        """Column titles of :meth:`row`."""
        pairs = [(f'{key}: truth', f'{key}: prediction') for key in self.tasks]
        return ['image', *(title for pair in pairs for title in pair)]

    def row(self, image: Array, sample: DenseDataSample) -> list[Array]:
        """Tiles of one picture: the image, then truth and prediction of each task.

        Args:
            image (Array): ``(H, W, 3)`` uint8, RGB.
            sample (DenseDataSample): Any of its maps may be missing (a black tile).
        """
        size = self._tile_size(image)
        tiles = [resize_tile(image, size)]
        for task in self.tasks.values():
            gt, pred = (_to_array(m) for m in (sample.gt(task), sample.pred(task)))
            for value in (gt, pred):
                if value is None:
                    tiles.append(np.zeros((*size, 3), np.uint8))
                    continue
                known = gt is not None and task.valid(gt).any()
                tile = task.colorize(value, gt if known else None)
                tiles.append(resize_tile(tile, size, nearest=True))
        return tiles

    def _tile_size(self, image: Array) -> tuple[int, int]:
        height, width = image.shape[:2]
        factor = max(1.0, self.tile_height / height)
        return round(height * factor), round(width * factor)

    def panel(self, images: Sequence[Array], samples: Sequence[DenseDataSample]) -> Array:
        """One picture with a row per sample; all rows take the first picture's tile size."""
        rows = [self.row(image, sample) for image, sample in zip(images, samples)]
        size = rows[0][0].shape[:2]
        return tile_grid([[resize_tile(t, size) for t in row] for row in rows], self.titles())

    def cluster_panel(
        self, image: Array, maps: Array, captions: Sequence[str], columns: int = 6
    ) -> Array:
        """The probability map of every cluster over the picture (PolyMaX, Figure 8).

        Each map is stretched to its own maximum, which its caption tells.

        Args:
            image (Array): ``(H, W, 3)`` uint8, RGB.
            maps (Array): ``(K, h, w)`` in [0, 1].
            captions (Sequence[str]): What each map stands for.
            columns (int): Tiles in a row.
        """
        picture = resize_tile(image, self._tile_size(image))
        width = picture.shape[1]
        tiles = [np.concatenate([write_label(width, 'image'), picture])]
        for share, caption in zip(maps, captions):
            label = write_label(width, f'{caption} (max {share.max():.2f})')
            tiles.append(np.concatenate([label, heat_tile(picture, share)]))
        rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
        return tile_grid(rows)

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
        """Draw one picture, to a file, a window or the backends."""
        sample = (data_sample or DenseDataSample()).clone()
        for task in self.tasks.values():
            for kind, wanted in (('gt', draw_gt), ('pred', draw_pred)):
                field = f'{kind}_{task.field}'
                if not wanted and field in sample:
                    delattr(sample, field)
        drawn = self.panel([image], [sample])
        if show:
            self.show(drawn, win_name=name, wait_time=wait_time)
        if out_file is not None:
            save_picture(out_file, drawn)
        else:
            self.add_image(name, drawn, step)


def save_picture(path: str | Path, picture: Array) -> None:
    """Write an RGB picture as PNG, whole or not at all."""
    _, data = cv2.imencode('.png', cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    atomic_write_bytes(path, data.tobytes())


def _to_array(chw: Tensor | None) -> Array | None:
    if chw is None:
        return None
    array = chw.detach().float().cpu().numpy()
    return array[0] if array.shape[0] == 1 else array.transpose(1, 2, 0)
