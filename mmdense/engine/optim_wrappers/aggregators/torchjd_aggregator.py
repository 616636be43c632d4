"""The aggregators of torchjd."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmdense.utils import suggest
from mmdense.utils.errors import MissingDependencyError
from mmdense.utils.lazy import require
from mmdense.utils.steps import step_generator

from .base import Aggregator, Direction

#: Arguments that hold a number per task.
_PER_TASK = ('weights', 'pref_vector', 'leak')
#: Need gradients of two batches that are drawn independently.
_TWO_BATCHES = ('MoDo', 'SDMGrad')
_SIMPLE = (bool, int, float, str, tuple, type(None), np.ndarray)


class TorchJDAggregator(Aggregator):
    """An aggregator of torchjd (UPGrad, MGDA, PCGrad, CAGrad, Nash-MTL, ...) by its name.

    Those that compute task weights from inner products get the T x T Gramian. Random ones draw
    numbers that depend on the iteration only. Tasks without labels are left out, since for most
    methods a gradient of 0 would mean that there is nothing left to gain; methods with a state
    keep one for every set of tasks that occurs.

    Args:
        name (str): Class in ``torchjd.aggregation``; or ``'CRMOGM'``, the moving average of the
            weights of another aggregator, which ``weighting`` configures.
        kwargs: Its arguments. ``n_tasks`` is filled in; what torchjd wants as a tensor may be a
            list in the order of the tasks.

    Raises:
        KeyError: If torchjd has no such aggregator.
        MissingDependencyError: If torchjd or a package that the aggregator needs is missing.
        ValueError: If the aggregator does not take the arguments.
    """

    def __init__(self, name: str, **kwargs: Any) -> None:
        super().__init__()
        asked = f"optim_wrapper.aggregator.type='{name}'"
        self.torchjd = require('torchjd.aggregation', asked, "pip install 'torchjd>=0.18'")
        self.name, self.kwargs, self.asked = name, kwargs, asked
        _check_name(self.torchjd, name, asked)
        self._made: dict[tuple[int, ...], Any] = {}
        self._saved: dict[tuple[int, ...], Any] = {}
        self._make(None)  # what is missing or misspelt shows before the training

    def _make(self, rows: tuple[int, ...] | None) -> Any:
        """An instance for some tasks; None: to see whether there can be one."""
        kwargs = {key: self._argument(key, value, rows) for key, value in self.kwargs.items()}
        if self.name == 'NashMTL':
            kwargs['n_tasks'] = 2 if rows is None else len(rows)
        try:
            if self.name == 'CRMOGM':
                return self._smoothed(kwargs, rows)
            return getattr(self.torchjd, self.name)(**kwargs)
        except ImportError as error:
            raise MissingDependencyError(
                f'{self.asked} needs packages that torchjd does not bring: {error}. They are '
                'listed in requirements/optional.txt.'
            ) from error
        except TypeError as error:
            raise ValueError(f'{self.asked}: {error}. Correct its arguments.') from error

    def _argument(self, key: str, value: Any, rows: tuple[int, ...] | None) -> Any:
        if key not in _PER_TASK or not isinstance(value, Sequence):
            return value
        return torch.tensor([value[i] for i in (rows or range(len(value)))], dtype=torch.float32)

    def _smoothed(self, kwargs: dict[str, Any], rows: tuple[int, ...] | None) -> Any:
        inner = dict(kwargs.pop('weighting'))
        other = TorchJDAggregator(inner.pop('type'), **inner)._make(rows)
        if not hasattr(other, 'gramian_weighting'):
            raise ValueError(
                f'{self.asked}: `weighting` must compute weights from inner products, such as '
                'MGDA or UPGrad.'
            )
        weighting = self.torchjd.CRMOGMWeighting(other.gramian_weighting, **kwargs)
        return self.torchjd.GramianWeightedAggregator(weighting)

    def __call__(self, matrix: Tensor, losses: Tensor, present: Tensor) -> Direction:
        rows = tuple(present.nonzero().flatten().tolist())
        if not rows:
            return Direction(torch.zeros_like(matrix[0]))
        if rows not in self._made:
            self._made[rows] = self._make(rows)
            if rows in self._saved:
                _restore(self._made[rows], self._saved.pop(rows), matrix.device)
        used = matrix if len(rows) == len(matrix) else matrix[list(rows)]
        with _seeded(matrix.device):
            vector, weights = _apply(self.torchjd, self._made[rows], used)
        if weights is None:
            return Direction(vector)
        all_weights = torch.zeros(len(matrix), dtype=weights.dtype, device=weights.device)
        all_weights[list(rows)] = weights
        return Direction(vector, all_weights)

    def state_dict(self) -> dict[str, Any]:
        states = {rows: _snapshot(made) for rows, made in self._made.items()}
        return {'torchjd': {**self._saved, **states}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._saved = dict(state['torchjd'])
        self._made = {}


def _check_name(torchjd: ModuleType, name: str, asked: str) -> None:
    kinds = (torchjd.Aggregator, torchjd.WeightedAggregator, torchjd.GramianWeightedAggregator)
    found = vars(torchjd).items()
    known = {k for k, v in found if isinstance(v, type) and issubclass(v, kinds[0])}
    known -= {kind.__name__ for kind in kinds}
    known |= {'CRMOGM', 'DBMTL', 'GradNorm', 'MoCo'}
    if name.removesuffix('Weighting') in _TWO_BATCHES:
        raise KeyError(
            f'{asked} needs the gradients of two batches that are drawn independently, which a '
            f'training step does not have. {suggest(name, known)}'
        )
    if name not in known:
        raise KeyError(f'{asked} is unknown. {suggest(name, known)}')


def _apply(torchjd: ModuleType, made: Any, matrix: Tensor) -> tuple[Tensor, Tensor | None]:
    """The direction ``(P,)``, and the weights of the rows where there are such."""
    # By class: ConFIG has an attribute `weighting` that is something else.
    if isinstance(made, torchjd.GramianWeightedAggregator):
        weights = made.gramian_weighting(matrix @ matrix.T)
    elif isinstance(made, torchjd.WeightedAggregator):
        weights = made.weighting(matrix)
    else:
        return made(matrix), None
    return weights.to(matrix.dtype) @ matrix, weights


@contextmanager
def _seeded(device: torch.device) -> Iterator[None]:
    """In this context PyTorch's random numbers depend on the iteration only."""
    generator = step_generator(0)
    devices = [device] if device.type == 'cuda' else []
    with torch.random.fork_rng(devices, enabled=generator is not None):
        if generator is not None:
            torch.manual_seed(generator.initial_seed())
        yield


def _snapshot(made: Any) -> dict[str, dict[str, Any]]:
    """Numbers and tensors that the parts of a torchjd aggregator keep."""
    found: dict[str, dict[str, Any]] = {}
    for name, module in made.named_modules():
        inherited = vars(torch.nn.Module())
        own = {k: v for k, v in vars(module).items() if k not in inherited}
        kept = {**own, **module._buffers}
        values = {k: v for k, v in kept.items() if isinstance(v, (*_SIMPLE, Tensor))}
        if values:
            found[name] = {k: _copy(v) for k, v in values.items()}
    return found


def _copy(value: Any) -> Any:
    if isinstance(value, Tensor):
        # Whether it follows the gradients' device: some parts always work on the CPU.
        return (value.detach().cpu().clone(), value.device.type != 'cpu')
    return value.copy() if isinstance(value, np.ndarray) else value


def _restore(made: Any, state: Mapping[str, Mapping[str, Any]], device: torch.device) -> None:
    for name, module in made.named_modules():
        values = state.get(name, {})
        if values.get('step', 0) and hasattr(module, '_init_optim_problem'):
            module._init_optim_problem()  # Nash-MTL makes it in its first step
        for key, value in values.items():
            if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], Tensor):
                value = value[0].to(device) if value[1] else value[0]
            if key in module._buffers:
                module._buffers[key] = value
            elif key != 'prvs_alpha_param':
                setattr(module, key, value)
