"""Panels during validation and testing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdense.registry import HOOKS
from mmdense.structures import DenseDataSample
from mmdense.visualization import DenseLocalVisualizer, save_picture


@HOOKS.register_module()
class DenseVisualizationHook(Hook):
    """Saves panels of truth, predictions and errors, and what heads can explain.

    After each validation ``<work_dir>/panels/val_iter_<n>.png``, after a test
    ``panels/test.png`` shows the first pictures, one row each, and
    ``..._<task>_<name>.png`` the maps behind the first picture's prediction: for cluster
    heads the probability map of each cluster, captioned with what it stands for.

    Args:
        num_pictures (int): Rows of the panel; 0 switches it off.
        explain (bool): Whether to draw the maps behind the predictions too.
        show_dir (str | None): In testing, everything about each picture goes here as
            ``<sample_id>.png`` (:meth:`DenseLocalVisualizer.sheet`).
    """

    def __init__(
        self, num_pictures: int = 6, explain: bool = True, show_dir: str | None = None
    ) -> None:
        self.num_pictures = num_pictures
        self.explain = explain
        self.show_dir = show_dir
        self._kept: list[tuple[np.ndarray, DenseDataSample]] = []
        self._first_input: Any = None

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        self._keep(data_batch, outputs)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        self._keep(data_batch, outputs)
        if self.show_dir is None:
            return
        visualizer = self._visualizer(runner)
        for index, (picture, sample) in enumerate(zip(_pictures(data_batch), outputs)):
            name = sample.metainfo.get('sample_id', f'{batch_idx:06d}_{index}')
            out = Path(self.show_dir) / f'{str(name).replace("/", "_")}.png'
            visualizer.add_datasample('test', picture, sample, out_file=out)

    def _keep(self, data_batch: Any, outputs: Sequence[DenseDataSample]) -> None:
        if not is_main_process():
            return
        if self._first_input is None:
            self._first_input = data_batch
        for picture, sample in zip(_pictures(data_batch), outputs):
            if len(self._kept) < self.num_pictures:
                self._kept.append((picture, sample.cpu()))

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        self._save(runner, 'val')

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        self._save(runner, 'test')

    def _save(self, runner: Runner, phase: str) -> None:
        kept, self._kept = self._kept, []
        batch, self._first_input = self._first_input, None
        if not kept or not is_main_process():
            return
        visualizer = self._visualizer(runner)
        name = f'val_iter_{runner.iter}' if phase == 'val' else phase
        stem = Path(runner.work_dir) / 'panels' / name
        drawn = visualizer.panel(*zip(*kept))
        save_picture(stem.with_suffix('.png'), drawn)
        visualizer.add_image(f'{phase}/panel', drawn, runner.iter)
        if self.explain:
            self._save_explanations(runner, visualizer, batch, kept[0][0], stem, phase)
        runner.logger.info(f'Panels: {stem.with_suffix(".png")}')

    def _save_explanations(
        self,
        runner: Runner,
        visualizer: DenseLocalVisualizer,
        batch: Any,
        picture: np.ndarray,
        stem: Path,
        phase: str,
    ) -> None:
        model = getattr(runner.model, 'module', runner.model)
        if not hasattr(model, 'explain'):
            return
        first = {key: value[:1] for key, value in batch.items()}
        with torch.no_grad():
            inputs = model.data_preprocessor(first, False)['inputs']
            found = model.explain(inputs)
        for key, named in found.items():
            for name, (maps, values) in named.items():
                captions = [model.tasks[key].describe(v) for v in values[0].float().cpu().numpy()]
                drawn = visualizer.cluster_panel(picture, maps[0].float().cpu().numpy(), captions)
                save_picture(stem.with_name(f'{stem.name}_{key}_{name}.png'), drawn)
                visualizer.add_image(f'{phase}/{key}_{name}', drawn, runner.iter)

    @staticmethod
    def _visualizer(runner: Runner) -> DenseLocalVisualizer:
        if not isinstance(runner.visualizer, DenseLocalVisualizer):
            raise TypeError(
                f'DenseVisualizationHook draws with {type(runner.visualizer).__name__}; set '
                "visualizer=dict(type='DenseLocalVisualizer', tasks=tasks, ...) in the config."
            )
        return runner.visualizer


def _pictures(data_batch: dict[str, Any]) -> list[np.ndarray]:
    """The pictures of a batch as they were before normalisation, ``(H, W, 3)`` uint8."""
    return [np.ascontiguousarray(x.permute(1, 2, 0).cpu().numpy()) for x in data_batch['inputs']]
