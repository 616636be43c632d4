"""What a checkpoint given as ``load_from`` or ``resume`` brought, and what it did not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from mmdense.models.balancers import BaseBalancer
from mmdense.models.utils.pretrained import compare_state_dicts
from mmdense.registry import HOOKS


@HOOKS.register_module()
class LoadReportHook(Hook):
    """Reports how many keys of a loaded checkpoint matched, missed or had the wrong shape.

    mmengine loads whatever fits and warns about the rest; a model that trains from the
    wrong weights looks healthy. This hook stops the run when too little fits.

    Args:
        max_missing (float): Share of the model's keys that may find no weight of their
            shape, in [0, 1]. Keys named in ``drop`` do not count.
        drop (Sequence[str]): Regular expressions, searched in the names; matching keys of
            the checkpoint are left out, so the model keeps its initialisation there (a
            head for other classes, bin centres for another depth range).

    Raises:
        ValueError: If ``max_missing`` is outside [0, 1].
    """

    def __init__(self, max_missing: float = 0.0, drop: Sequence[str] = ()) -> None:
        if not 0 <= max_missing <= 1:
            raise ValueError(
                f'LoadReportHook.max_missing is {max_missing}; it is a share in [0, 1].'
            )
        self.max_missing = max_missing
        self.drop = tuple(drop)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Compare, report, and remove what is to be dropped.

        Raises:
            ValueError: If more than ``max_missing`` of the keys found no weight.
        """
        model = getattr(runner.model, 'module', runner.model)
        weights = checkpoint.get('state_dict', checkpoint)
        offered = {re.sub(r'^module\.', '', name): name for name in weights}
        plain = {name: weights[original] for name, original in offered.items()}
        # Dropping serves fine-tuning; a resumed run continues with all it had.
        drop = () if getattr(runner, '_resume', False) else (*self.drop, *_balancers(model))
        report = compare_state_dicts(model, plain, drop)
        details = f' ({report.names()})' if report.names() else ''
        if report.missing_share > self.max_missing:
            raise ValueError(
                f'The checkpoint does not fit the model: {report.counts()}{details}. '
                f'{report.missing_share:.1%} of the keys of the model found no weight; '
                f'default_hooks.load_report.max_missing={self.max_missing:g} allows '
                f'{self.max_missing:.1%}. Check that `load_from` belongs to this config, name '
                'what may stay at its initialisation in default_hooks.load_report.drop, or raise '
                'max_missing.'
            )
        runner.logger.info(f'Checkpoint: {report.counts()}{details}')
        for name in report.dropped:
            weights.pop(offered.get(name, name), None)


def _balancers(model: nn.Module) -> list[str]:
    """Patterns of the names of what loss balancers keep."""
    found = [name for name, m in model.named_modules() if isinstance(m, BaseBalancer)]
    return [rf'^{re.escape(name)}\.' for name in found]
