"""What a training costs with something in its config, over what it costs without.

Steps of both models take turns in one process, so that whatever else runs on the machine meets
both alike; the ratio is the median over such pairs. Peak memory is measured in a process of its own
for each, see :mod:`mmdense.apis.benchmark`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from mmengine.config import Config
from torch import nn

from mmdense.models.regularizers import FeatureRegularizer
from mmdense.models.regularizers.run_clock import RunClock
from mmdense.utils.config_check import ConfigError

from .benchmark import Settings, in_own_process, measure_peak, training_step
from .model_parts import build_model


@dataclass(frozen=True)
class CostRatio:
    """One figure of both configs.

    Attributes:
        what (str): ``'step, ms'``, ``'peak, MiB'`` or ``'parameters, M'``.
        with_it (float | None): Of the first config; None where not measured.
        without (float | None): Of the second.
        ratio (float | None): First over second; of times the median over pairs of steps.
        low (float | None): Lower quartile over pairs; None where there are no pairs.
        high (float | None): Upper quartile.
    """

    what: str
    with_it: float | None
    without: float | None
    ratio: float | None
    low: float | None = None
    high: float | None = None


def measure_ratios(cfg: Config, other: Config, settings: Settings) -> list[CostRatio]:
    """Time, memory and parameters of training ``cfg`` over those of training ``other``.

    Regularizers act with their full weight.

    Args:
        cfg (Config): With ``model`` and ``optim_wrapper``.
        other (Config): Without what is to be weighed.
        settings (Settings): How to measure; both are fed random pictures and ground truth of
            its shape.

    Returns:
        list[CostRatio]: Time, memory (unless ``settings.memory`` is False) and parameters.

    Raises:
        ConfigError: If a model has no tasks to make ground truth for.
    """
    seconds, counts = _time_and_parameters((cfg, other), settings)
    rows = [_of_pairs('step, ms', [[1000 * s for s in each] for each in seconds])]
    if settings.memory:
        peaks = [in_own_process(measure_peak, one, settings, True) for one in (cfg, other)]
        rows.append(_of_two('peak, MiB', *peaks))
    rows.append(_of_two('parameters, M', *counts))
    return rows


def _time_and_parameters(
    configs: Sequence[Config], settings: Settings
) -> tuple[tuple[list[float], ...], list[float]]:
    """Seconds of steps, and millions of parameters; the models are gone afterwards."""
    trained = [_trained(cfg, settings) for cfg in configs]
    seconds = take_turns([step for step, _ in trained], settings)
    return seconds, [count / 1e6 for _, count in trained]


def take_turns(
    calls: Sequence[Callable[[], object]], settings: Settings
) -> tuple[list[float], ...]:
    """Seconds of every timed call, by callable; in each round another one begins."""
    clock = _clock(settings)
    spent: tuple[list[float], ...] = tuple([] for _ in calls)
    for turn in range(settings.warmup + settings.steps):
        for offset in range(len(calls)):
            index = (turn + offset) % len(calls)
            start = clock()
            calls[index]()
            end = clock()
            if turn >= settings.warmup:
                spent[index].append(end - start)
    return spent


def clock_name(settings: Settings) -> str:
    """What times are of: the wall clock, or one thread of the processor."""
    one = torch.device(settings.device).type == 'cpu' and torch.get_num_threads() == 1
    return 'processor time' if one else 'wall time'


def _clock(settings: Settings) -> Callable[[], float]:
    if torch.device(settings.device).type == 'cuda':

        def waited() -> float:
            torch.cuda.synchronize()
            return time.perf_counter()

        return waited
    # With one thread the time of the processor is that of the clock, less what others take.
    return time.process_time if clock_name(settings) == 'processor time' else time.perf_counter


def _trained(cfg: Config, settings: Settings) -> tuple[Callable[[], None], int]:
    """A training step of a fresh model, and its number of parameters."""
    model = build_model(cfg, settings.device).train()
    if not hasattr(model, 'tasks'):
        raise ConfigError(f'{type(model).__name__} has no `tasks` to make ground truth for.')
    give_full_weight(model)
    inputs = torch.randn(settings.batch_size, 3, *settings.shape, device=settings.device)
    count = sum(p.numel() for p in model.parameters())
    return training_step(cfg, model, inputs, settings), count


def give_full_weight(model: nn.Module) -> None:
    """Put regularizers behind the end of their ramp: a loss times 0 would be no fair load."""
    for part in model.modules():
        if isinstance(part, FeatureRegularizer):
            end = part.ramp.iters or 1
            part.clock = RunClock(end, end)


def _of_pairs(what: str, values: Sequence[Sequence[float]]) -> CostRatio:
    first, other = values
    ratios = [a / b for a, b in zip(first, other)]
    low, middle, high = (
        ratios * 3 if len(ratios) == 1 else statistics.quantiles(ratios, n=4, method='inclusive')
    )
    return CostRatio(what, statistics.median(first), statistics.median(other), middle, low, high)


def _of_two(what: str, first: float | None, other: float | None) -> CostRatio:
    return CostRatio(what, first, other, first / other if first and other else None)
