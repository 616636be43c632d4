"""Predictions of a test as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdense.evaluation.metrics.base import map_to_array
from mmdense.evaluation.prediction_files import write_prediction
from mmdense.registry import HOOKS
from mmdense.structures import DenseDataSample
from mmdense.tasks import BaseTask


@HOOKS.register_module()
class SavePredictionsHook(Hook):
    """Writes every predicted map of a test, in the form of :mod:`.prediction_files`.

    The files go to other evaluation codes, or back to
    ``tools/analysis_tools/evaluate_files.py``. ``tools/test.py --pred-dir FOLDER`` adds this
    hook. Each process writes its own pictures.

    Args:
        out_dir (str | None): Folder. None: ``predictions`` in the work directory.
        tasks (Sequence[str] | None): Keys of the tasks to save. None: all.
    """

    def __init__(self, out_dir: str | None = None, tasks: Sequence[str] | None = None) -> None:
        self.out_dir = out_dir
        self.tasks = tasks

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[DenseDataSample] | None = None,
    ) -> None:
        folder = Path(self.out_dir or Path(runner.work_dir) / 'predictions')
        chosen = self._chosen(getattr(runner.model, 'module', runner.model).tasks)
        for index, sample in enumerate(outputs or ()):
            name = str(sample.metainfo.get('sample_id', f'{batch_idx:06d}_{index}'))
            for task in chosen:
                pred = sample.pred(task)
                if pred is not None:
                    write_prediction(folder, task, name, map_to_array(pred))

    def _chosen(self, tasks: dict[str, BaseTask]) -> list[BaseTask]:
        return [task for key, task in tasks.items() if self.tasks is None or key in self.tasks]

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        runner.logger.info(f'Predictions: {self.out_dir or Path(runner.work_dir) / "predictions"}')
