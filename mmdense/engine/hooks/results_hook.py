"""Results with their protocol, as a file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdense.engine.run_facts import describe_run, note_origin
from mmdense.evaluation import MultiTaskEvaluator
from mmdense.registry import HOOKS
from mmdense.utils.files import atomic_write_json


@HOOKS.register_module()
class ResultsHook(Hook):
    """Writes ``results_val.json`` and ``results_test.json`` into the work directory.

    Each holds the iteration, the number of pictures, every metric with direction, unit
    and protocol, the headline of each task, and under ``run`` what was run (see
    :func:`~mmdense.engine.run_facts.describe_run`; ``wall_s`` is the time in this process
    since the run began, in seconds). NaN is written as null. A newer evaluation replaces the
    file in one step.

    Where an evaluator has a Delta_m, its reference is checked against the backbone, data
    and schedule of the run before the first iteration.
    """

    def __init__(self) -> None:
        self._begin = time.monotonic()

    def before_run(self, runner: Runner) -> None:
        self._begin = time.monotonic()
        for mode in ('val', 'test'):
            # Loops are properties that would be built here; only those in use are of interest.
            evaluator = getattr(getattr(runner, f'_{mode}_loop', None), 'evaluator', None)
            if isinstance(evaluator, MultiTaskEvaluator) and evaluator.delta_m is not None:
                evaluator.delta_m.bind(describe_run(runner, mode))

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        note_origin(runner, checkpoint)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        self._write(runner, runner.val_loop, 'val')

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        self._write(runner, runner.test_loop, 'test')

    @master_only
    def _write(self, runner: Runner, loop: Any, mode: str) -> None:
        evaluator = getattr(loop, 'evaluator', None)
        if not isinstance(evaluator, MultiTaskEvaluator):
            return
        run = dict(describe_run(runner, mode), wall_s=round(time.monotonic() - self._begin, 1))
        report = dict(iteration=runner.iter, run=run, **evaluator.report)
        atomic_write_json(Path(runner.work_dir) / f'results_{mode}.json', report)
