"""Moves a search for the context of every pair of tasks along, and writes what it finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmdense.models.necks import RelationalContextSearch
from mmdense.registry import HOOKS
from mmdense.utils.files import atomic_write_json


@HOOKS.register_module()
class GenotypeSearchHook(Hook):
    """Schedules :class:`~mmdense.models.necks.RelationalContextSearch`.

    Temperature and weight of the entropy are linear in the iteration; after each one, pairs whose
    two largest probabilities differ enough are decided. The genotype file is written every
    ``interval`` iterations and at the end; a ``RelationalContext`` reads it. It holds ``tasks``,
    ``genotype`` (rows of codes), ``frozen`` (which pairs are decided), ``probabilities``
    and ``iteration``.

    Args:
        temperature (tuple[float, float]): First and last. Defaults to (1, 0.05).
        entropy_weight (tuple[float, float]): First and last. Defaults to (-0.02, 0.06).
        gap (float): Difference of probability that decides a pair. Defaults to 0.3.
        interval (int): Iterations between two writings. Defaults to 1000.
        filename (str): In the work directory.

    Raises:
        ValueError: If a temperature is not positive; in ``before_train``, if the model has not
            exactly one ``RelationalContextSearch``.
    """

    def __init__(
        self,
        temperature: tuple[float, float] = (1.0, 0.05),
        entropy_weight: tuple[float, float] = (-0.02, 0.06),
        gap: float = 0.3,
        interval: int = 1000,
        filename: str = 'genotype.json',
    ) -> None:
        if min(temperature) <= 0:
            raise ValueError(f'GenotypeSearchHook: temperature is {temperature}; both must be > 0.')
        self.temperature, self.entropy_weight = temperature, entropy_weight
        self.gap, self.interval, self.filename = gap, interval, filename

    def before_train(self, runner: Runner) -> None:
        self._find(runner)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        search = self._find(runner)
        # 0 in the first iteration, 1 in the last.
        share = min(runner.iter / max(runner.max_iters - 1, 1), 1.0)
        search.temperature = _between(self.temperature, share)
        search.entropy_weight = _between(self.entropy_weight, share)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        self._find(runner).freeze(self.gap)
        if self.every_n_train_iters(runner, self.interval):
            self._write(runner)

    def after_train(self, runner: Runner) -> None:
        self._write(runner)

    def _find(self, runner: Runner) -> RelationalContextSearch:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        found = [m for m in model.modules() if isinstance(m, RelationalContextSearch)]
        if len(found) != 1:
            raise ValueError(
                f'GenotypeSearchHook: the model has {len(found)} RelationalContextSearch, expected '
                'one. Set it as the neck, or remove the hook.'
            )
        return found[0]

    def _write(self, runner: Runner) -> None:
        search = self._find(runner)
        frozen = search.frozen.tolist()
        path = Path(runner.work_dir) / self.filename
        if is_main_process():
            content = dict(
                tasks=list(search.tasks),
                genotype=search.genotype(),
                frozen=frozen,
                probabilities=search.probabilities().tolist(),
                iteration=runner.iter,
            )
            atomic_write_json(path, content)
        decided = sum(map(sum, frozen))
        print_log(
            f'Genotype of iteration {runner.iter} in {path}: {decided} of {len(search.tasks) ** 2} '
            'pairs decided.',
            logger='current',
        )


def _between(ends: tuple[float, float], share: float) -> float:
    return ends[0] + share * (ends[1] - ends[0])
