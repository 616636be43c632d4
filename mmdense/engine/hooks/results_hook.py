"""Results with their protocol, as a file."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdense.evaluation import MultiTaskEvaluator
from mmdense.registry import HOOKS
from mmdense.utils.files import atomic_write_text


@HOOKS.register_module()
class ResultsHook(Hook):
    """Writes ``results_val.json`` and ``results_test.json`` into the work directory.

    Each holds the iteration, the number of pictures, every metric with direction, unit
    and protocol, and the headline of each task; NaN is written as null. A newer
    evaluation replaces the file in one step.
    """

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        self._write(runner, runner.val_loop, 'results_val.json')

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        self._write(runner, runner.test_loop, 'results_test.json')

    @master_only
    def _write(self, runner: Runner, loop: Any, name: str) -> None:
        evaluator = getattr(loop, 'evaluator', None)
        if not isinstance(evaluator, MultiTaskEvaluator):
            return
        report = dict(iteration=runner.iter, **evaluator.report)
        text = json.dumps(_without_nan(report), indent=2)
        atomic_write_text(Path(runner.work_dir) / name, text + '\n')


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
