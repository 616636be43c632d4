"""How many pictures of the training data could not be read."""

from __future__ import annotations

from collections import Counter
from logging import WARNING
from typing import Any

from mmengine.dist import all_gather_object, is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement

from mmdense.registry import HOOKS

#: Pictures that a summary names.
_NAMED = 5


@HOOKS.register_module()
class SkippedPicturesHook(Hook):
    """Sums up what ``on_error='skip'`` left out of the training, over workers and processes.

    A data set logs the first failure of a picture in the worker that met it. A sample that
    stands in for unreadable pictures names them (``metainfo['replaces']``), and this hook
    counts these names: before every validation and at the end of the training it logs how many
    draws fell on how many pictures. Evaluations report theirs with the results, see
    :class:`~mmdense.evaluation.MultiTaskEvaluator`.

    Attributes:
        counts (Counter): Path of a picture to the draws that fell on it, of this process since
            the run began.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._draws = 0

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        samples = data_batch.get('data_samples') if isinstance(data_batch, dict) else None
        for sample in samples or ():
            self._draws += 1
            if isinstance(sample, BaseDataElement):
                self.counts.update(sample.metainfo.get('replaces', ()))

    def before_val(self, runner: Runner) -> None:
        self._report()

    def after_train(self, runner: Runner) -> None:
        self._report()

    def _report(self) -> None:
        parts = all_gather_object((self._draws, self.counts))
        total: Counter[str] = sum((counts for _, counts in parts), Counter())
        if not total or not is_main_process():
            return
        samples = sum(draws for draws, _ in parts)
        names = ', '.join(f"'{path}' ({count})" for path, count in total.most_common(_NAMED))
        more = f' and {len(total) - _NAMED} more' if len(total) > _NAMED else ''
        print_log(
            f'Training: {total.total()} draws fell on unreadable pictures, {len(total)} in number, '
            f"and took others in their place, in {samples} samples so far (on_error='skip'): "
            f'{names}{more}. tools/dataset_converters/check.py says what is wrong with each.',
            logger='current',
            level=WARNING,
        )
