"""Multi-task gain: how much a network gains or loses on single-task networks, on average."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmdense.registry import METRICS
from mmdense.utils import DataError, suggest

from .metrics import StampedMetric
from .references import Reference, load_reference, parse_reference
from .setting import ASPECTS, Mismatch, Setting, compare_settings, require_equal

_REMEDY = (
    'Choose a reference that was made like the run; tools/analysis_tools/make_reference.py makes '
    'one from single-task runs.'
)


def task_gains(
    values: Mapping[str, float],
    references: Mapping[str, float],
    higher_is_better: Mapping[str, bool],
) -> dict[str, float]:
    """Relative gain of each task in percent, ``100 s (M - B) / B``.

    Args:
        values (Mapping[str, float]): ``<task>/<metric>`` to the number M of the network. Several
            metrics of one task are averaged within the task first, as in LibMTL.
        references (Mapping[str, float]): The same names to the single-task number B; more
            names do no harm.
        higher_is_better (Mapping[str, bool]): The same names to the direction: s is +1 or -1.

    Returns:
        dict[str, float]: Task to percent; NaN where the network has no number.

    Raises:
        ValueError: If nothing is given, a reference or direction is missing, or a reference is
            zero, negative or not finite: a relative gain has no meaning there.

    Example:
        >>> task_gains({'depth/rmse': 0.375}, {'depth/rmse': 0.5}, {'depth/rmse': False})
        {'depth': 25.0}
    """
    if not values:
        raise ValueError('delta_m: there are no values; give at least one metric.')
    for given, what in ((references, 'reference'), (higher_is_better, 'direction')):
        missing = [name for name in values if name not in given]
        if missing:
            raise ValueError(
                f'delta_m: no {what} for {", ".join(missing)}. {suggest(missing[0], given)}'
            )
    gains: dict[str, list[float]] = {}
    for name, value in values.items():
        base = float(references[name])
        if not (math.isfinite(base) and base > 0):
            raise ValueError(
                f'delta_m: the reference of {name} is {base}; a relative gain needs a finite '
                'number above 0. Correct the reference, or take another metric for this task.'
            )
        sign = 1 if higher_is_better[name] else -1
        gains.setdefault(name.partition('/')[0], []).append(
            100 * sign * (float(value) - base) / base
        )
    return {task: sum(found) / len(found) for task, found in gains.items()}


def delta_m(
    values: Mapping[str, float],
    references: Mapping[str, float],
    higher_is_better: Mapping[str, bool],
) -> float:
    """Multi-task gain in percent, ``100 / T * sum_t s_t (M_t - B_t) / B_t``.

    Maninis et al., "Attentive Single-Tasking of Multiple Tasks" (CVPR 2019). With one metric
    per task this is the form of ASTMT and ATRC; with several they are averaged within each
    task first, the form of LibMTL.

    Args:
        values (Mapping[str, float]): As in :func:`task_gains`.
        references (Mapping[str, float]): As in :func:`task_gains`.
        higher_is_better (Mapping[str, bool]): As in :func:`task_gains`.

    Returns:
        float: Percent, positive where the network is better on average.

    Raises:
        ValueError: As :func:`task_gains`.

    Example:
        >>> found = {'semseg/mIoU': 0.625, 'depth/rmse': 0.75}
        >>> base = {'semseg/mIoU': 0.5, 'depth/rmse': 0.5}
        >>> delta_m(found, base, {'semseg/mIoU': True, 'depth/rmse': False})
        -12.5
    """
    gains = task_gains(values, references, higher_is_better)
    return sum(gains.values()) / len(gains)


@METRICS.register_module()
class DeltaM:
    """Delta_m of a report against single-task reference numbers of the same protocol.

    The multi-task evaluator takes it as ``delta_m=dict(reference='....yaml')``; the report
    tool uses it on results files. Numbers are compared only if protocol, data, number of
    pictures, resolution, backbone and schedule agree, as far as both sides state them.

    Args:
        reference (str | Path | Mapping | Reference): File, its content, or the object.
        metrics (str | Mapping): ``'headline'``: one metric per task (ASTMT, ATRC), the one
            that the reference names in ``headlines``, else the task's own. ``'all'``: every
            metric of the reference, averaged within each task first (LibMTL). A mapping
            from task to a metric, or a list of them, overrides single tasks.
        allow (Sequence[str]): Aspects that may differ: ``'protocol'``, ``'data'``,
            ``'pictures'``, ``'resolution'``, ``'backbone'``, ``'schedule'``. What differed is
            recorded in the result.

    Raises:
        DataError: If the reference file cannot be read.
        ValueError: If ``metrics`` or ``allow`` is unknown.

    Example:
        >>> entry = dict(value=0.5, higher_is_better=False, protocol='p')
        >>> against = DeltaM(dict(name='x', source='y', backbone='z',
        ...                       metrics={'depth/rmse': entry}))
        >>> report = dict(details={'depth/rmse': dict(entry, value=0.375)},
        ...               headlines=dict(depth='depth/rmse'))
        >>> against.score(report)['delta_m']
        25.0
    """

    def __init__(
        self,
        reference: str | Path | Mapping[str, Any] | Reference,
        metrics: str | Mapping[str, str | Sequence[str]] = 'headline',
        allow: Sequence[str] = (),
    ) -> None:
        if isinstance(metrics, str) and metrics not in ('headline', 'all'):
            raise ValueError(
                f"DeltaM.metrics is {metrics!r}; choose 'headline', 'all', or a mapping such as "
                "dict(depth='abs_rel')."
            )
        for aspect in allow:
            if aspect not in ASPECTS:
                raise ValueError(f'DeltaM.allow names {aspect!r}. {suggest(aspect, ASPECTS)}')
        if isinstance(reference, Reference):
            self.reference = reference
        elif isinstance(reference, Mapping):
            self.reference = parse_reference(reference)
        else:
            self.reference = load_reference(reference)
        self.metrics = metrics if isinstance(metrics, str) else dict(metrics)
        self.allow = tuple(allow)
        #: Facts of the run (the ``run`` block of results files), set by ``ResultsHook``.
        self.run: dict[str, Any] = {}

    def bind(self, run: Mapping[str, Any]) -> None:
        """Take the facts of the run that an evaluator does not know, and check them.

        Args:
            run (Mapping): As in the ``run`` block of results files.

        Raises:
            SettingMismatch: If data, backbone or schedule differ from the reference's.
        """
        self.run = dict(run)
        found, _ = compare_settings(Setting.read(dict(run=run)), self.reference.setting)
        self._refuse(found)

    def check(self, metrics: Iterable[Any], headlines: Mapping[str, str]) -> None:
        """Check tasks and protocols before anything is evaluated.

        Args:
            metrics (Iterable): Built metrics; others than :class:`StampedMetric` are passed by.
            headlines (Mapping[str, str]): Task prefix to the name of its headline.

        Raises:
            DataError: If a task or metric is missing from the reference.
            SettingMismatch: If a protocol differs.
        """
        details = {
            f'{metric.prefix}/{name}': dict(higher_is_better=higher, protocol=metric.protocol)
            for metric in metrics
            if isinstance(metric, StampedMetric)
            for name, higher in metric.higher_is_better.items()
        }
        # A task whose number no metric computes is an error here, not a smaller T.
        self._refuse(self._protocols(details, self._names(details, headlines)))

    def score(self, report: Mapping[str, Any]) -> dict[str, Any]:
        """Delta_m of a report.

        Args:
            report (Mapping): As :attr:`MultiTaskEvaluator.report
                <mmdense.evaluation.MultiTaskEvaluator>`, or a results file.

        Returns:
            dict: ``delta_m`` in percent; ``gains`` task to percent; ``metrics`` the names that
            were used; ``reference`` name and source; ``unchecked`` what one side did not
            state; ``overrides`` what differed and was allowed.

        Raises:
            DataError: If a task or metric is missing from the reference.
            SettingMismatch: If numbers were made in different ways.
        """
        details = report['details']
        names = self._names(details, report['headlines'])
        setting = Setting.read(dict(run=self.run, **report) if 'run' not in report else report)
        found, unchecked = compare_settings(setting, self.reference.setting)
        found += self._protocols(details, names)
        self._refuse(found)
        gains = task_gains(
            {name: _number(details[name]['value']) for name in names},
            {name: self.reference.metrics[name].value for name in names},
            {name: self.reference.metrics[name].higher_is_better for name in names},
        )
        return dict(
            delta_m=sum(gains.values()) / len(gains),
            gains=gains,
            metrics=names,
            reference=dict(name=self.reference.name, source=self.reference.source),
            unchecked=unchecked,
            overrides=[
                dict(aspect=m.aspect, subject=m.subject, run=m.run, reference=m.reference)
                for m in found
            ],
        )

    def _refuse(self, mismatches: list[Mismatch]) -> None:
        refused = [m for m in mismatches if m.aspect not in self.allow]
        require_equal(refused, f"delta_m against '{self.reference.name}'", _REMEDY)

    def _protocols(
        self, details: Mapping[str, Mapping[str, Any]], names: Sequence[str]
    ) -> list[Mismatch]:
        found = []
        for name in names:
            ours, theirs = details[name], self.reference.metrics[name]
            for key, what in (('protocol', 'protocol'), ('higher_is_better', 'direction')):
                a, b = ours[key], getattr(theirs, key)
                if a != b:
                    found.append(Mismatch('protocol', f'{what} of {name}', str(a), str(b)))
        return found

    def _names(self, details: Mapping[str, Any], headlines: Mapping[str, str]) -> list[str]:
        """The metrics to compare, after checking that both sides have them."""
        reference = self.reference
        tasks = dict.fromkeys(headlines)
        missing = [task for task in tasks if task not in reference.tasks]
        if missing or not tasks:
            raise DataError(
                f"delta_m: reference '{reference.name}' has no number for task "
                f'{", ".join(missing) or "(no task was evaluated)"}; it has '
                f'{", ".join(reference.tasks)}. Delta_m needs one single-task number per task.'
            )
        names: list[str] = []
        for task in tasks:
            names += self._names_of(task, details, headlines[task])
        return names

    def _names_of(self, task: str, details: Mapping[str, Any], headline: str) -> list[str]:
        reference = self.reference
        chosen = self.metrics.get(task) if isinstance(self.metrics, dict) else None
        if chosen is not None:
            given = [chosen] if isinstance(chosen, str) else list(chosen)
            names = [name if '/' in name else f'{task}/{name}' for name in given]
        elif self.metrics == 'all':
            names = reference.of_task(task)
        else:
            names = [reference.headlines.get(task, headline)]
        for name in names:
            for known, owner in ((reference.metrics, reference.name), (details, 'the run')):
                if name not in known:
                    same = [other for other in known if other.partition('/')[0] == task]
                    raise DataError(
                        f"delta_m: '{owner}' has no {name}; for this task it has "
                        f'{", ".join(same) or "nothing"}. Name a metric that both have, for '
                        f"example metrics=dict({task}='{name.partition('/')[2]}')."
                    )
        return names


def _number(value: float | None) -> float:
    """A number of a results file, where null stands for NaN."""
    return math.nan if value is None else float(value)
