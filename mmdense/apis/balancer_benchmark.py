"""What loss balancers and gradient aggregators cost, against plain weights."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config

from mmdense.utils import suggest
from mmdense.utils.errors import MissingDependencyError

from .benchmark import Settings, _peak, training_step
from .model_parts import build_model

#: Method to its arguments where it needs some. ``interval`` is never reached here.
BALANCERS: dict[str, dict[str, Any]] = {
    'FixedWeights': {},
    'EqualWeights': {},
    'LossPrioritization': dict(interval=10**9),
    'UncertaintyWeights': {},
    'DynamicWeightAverage': dict(interval=10**9),
    'GeometricLoss': {},
    'RandomWeights': {},
    'IMTLL': {},
    'DynamicTaskPrioritization': {},
    'SmoothTchebycheff': dict(interval=10**9),
    'FAMO': {},
    'FAMO, next batch': dict(measure='next_batch'),
}
AGGREGATORS: dict[str, dict[str, Any]] = {
    'GradNorm': {},
    'DBMTL': {},
    'MoCo': {},
    'AlignedMTL': {},
    'CAGrad': dict(c=0.5),
    'ConFIG': {},
    'Constant': {},  # with a weight of 1 for each task
    'CRMOGM': dict(weighting=dict(type='MGDA')),
    'DualProj': {},
    'ExcessMTL': {},
    'FairGrad': dict(alpha=1.0),
    'GradDrop': {},
    'GradVac': {},
    'IMTLG': {},
    'Krum': dict(n_byzantine=0, n_selected=1),
    'MGDA': {},
    'Mean': {},
    'NashMTL': {},
    'PCD': {},
    'PCGrad': {},
    'Random': {},
    'Sum': {},
    'TrimmedMean': dict(trim_number=1),
    'UPGrad': {},
}


@dataclass(frozen=True)
class MethodRow:
    """One method.

    Args:
        kind (str): ``'balancer'`` or ``'aggregator'``.
        name (str): Its name.
        milliseconds (float | None): Median time of a training step.
        peak_mib (float | None): Peak memory of a step; None where not measured.
        note (str): Why there is no number, if there is none.
    """

    kind: str
    name: str
    milliseconds: float | None = None
    peak_mib: float | None = None
    note: str = ''


def method_config(cfg: Config, name: str, shared: Sequence[str]) -> tuple[str, Config]:
    """A config with another balancer or aggregator.

    Args:
        cfg (Config): Of a ``DensePredictor``.
        name (str): A key of :data:`BALANCERS` or :data:`AGGREGATORS`.
        shared (Sequence[str]): Patterns of the shared parameters, for aggregators.

    Returns:
        tuple: ``'balancer'`` or ``'aggregator'``, and the config.

    Raises:
        KeyError: If the name is unknown.
    """
    changed = copy.deepcopy(cfg)
    kind = name.partition(',')[0]
    if name in BALANCERS:
        changed.model.balancer = dict(type=kind, **BALANCERS[name])
        return 'balancer', changed
    if name not in AGGREGATORS:
        raise KeyError(f'--methods {name}: {suggest(name, {**BALANCERS, **AGGREGATORS})}')
    changed.model.balancer = dict(type='FixedWeights')
    aggregator = dict(type=kind, **AGGREGATORS[name])
    if kind == 'Constant':
        aggregator['weights'] = [1.0] * len(cfg.model.tasks)
    changed.optim_wrapper = dict(
        type='JacobianOptimWrapper',
        optimizer=cfg.optim_wrapper.optimizer,
        aggregator=aggregator,
        shared=list(shared),
    )
    return 'aggregator', changed


def benchmark_methods(
    cfg: Config, names: Sequence[str], shared: Sequence[str], settings: Settings
) -> list[MethodRow]:
    """Measure training steps in turns, so that what else runs on the machine meets all methods.

    Args:
        cfg (Config): With ``model`` and ``optim_wrapper``.
        names (Sequence[str]): Methods.
        shared (Sequence[str]): Patterns of the shared parameters, for aggregators.
        settings (Settings): How. On the CPU with one thread the time is that of the
            processor.
    """
    configs = {name: method_config(cfg, name, shared) for name in names}
    steps, notes = {}, {}
    for name, (_, changed) in configs.items():
        model = build_model(changed, settings.device).train()
        inputs = torch.randn(settings.batch_size, 3, *settings.shape, device=settings.device)
        try:
            steps[name] = training_step(changed, model, inputs, settings)
        except MissingDependencyError as error:
            notes[name] = str(error)
    spent: dict[str, list[float]] = {name: [] for name in steps}
    for index in range(settings.warmup + settings.steps):
        for name, step in steps.items():
            seconds = _seconds(step, settings)
            if index >= settings.warmup:
                spent[name].append(1000 * seconds)
    del steps
    rows = []
    for name, (kind, changed) in configs.items():
        if name in notes:
            rows.append(MethodRow(kind, name, note=notes[name]))
            continue
        peak = _peak(changed, settings, True)
        rows.append(MethodRow(kind, name, statistics.median(spent[name]), peak))
    return rows


def _seconds(step: Any, settings: Settings) -> float:
    cuda = torch.device(settings.device).type == 'cuda'
    one = not cuda and torch.get_num_threads() == 1
    clock = time.process_time if one else time.perf_counter
    if cuda:
        torch.cuda.synchronize()
    start = clock()
    step()
    if cuda:
        torch.cuda.synchronize()
    return clock() - start
