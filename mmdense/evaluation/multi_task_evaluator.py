"""One evaluator for all tasks, one table with every number and its protocol."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.evaluator import Evaluator
from mmengine.logging import print_log
from terminaltables import AsciiTable

from mmdense.registry import EVALUATORS, METRICS
from mmdense.tasks import build_tasks
from mmdense.utils import suggest

from .metrics import DenseMetric


@EVALUATORS.register_module()
class MultiTaskEvaluator(Evaluator):
    """Evaluates every task with its own metrics.

    Results are named ``<task>/<metric>``. After :meth:`evaluate`, :attr:`report` holds
    them with protocols, directions and headlines, and one table is in the log.

    Args:
        tasks (Mapping): The tasks of the config.
        metrics (Mapping | Sequence | None): Task name to a list of metric configs that
            replace the task's own; or a plain list of metrics, mmengine's own form, that
            is used besides them. (The key must be there for mmengine to build this
            class: ``metrics=None`` is the common case.)
        delta_m (Mapping | None): Arguments of :class:`DeltaM`, such as
            ``dict(reference='....yaml')``: results get ``delta_m`` and ``delta_m/<task>``,
            the gain over single-task networks in percent.

    Raises:
        KeyError: If ``metrics`` names a task that ``tasks`` does not have.
    """

    def __init__(
        self,
        tasks: Mapping[str, Any],
        metrics: Mapping[str, Sequence[dict[str, Any]]] | Sequence[Any] | None = None,
        delta_m: Mapping[str, Any] | None = None,
    ) -> None:
        self.tasks = build_tasks(tasks)
        chosen = dict(metrics) if isinstance(metrics, Mapping) else {}
        unknown = [name for name in chosen if name not in self.tasks]
        if unknown:
            raise KeyError(
                f"evaluator.metrics['{unknown[0]}'] has no task of that name. "
                f'{suggest(unknown[0], self.tasks)}'
            )
        built: list[Any] = []
        for key, task in self.tasks.items():
            configs = chosen.get(key, task.metrics)
            built += [METRICS.build(cfg, default_args=dict(task=task)) for cfg in configs]
        if metrics is not None and not isinstance(metrics, Mapping):
            built += list(metrics)
        super().__init__(built)
        self.report: dict[str, Any] = {}
        self.delta_m: Any = None
        if delta_m is not None:
            self.delta_m = METRICS.build(dict(delta_m), default_args=dict(type='DeltaM'))
            self.delta_m.check(self.metrics, self._headlines())

    def evaluate(self, size: int) -> dict[str, float]:
        """Numbers over the ``size`` pictures of the data set."""
        results = super().evaluate(size)
        self.report = self._make_report(results, size)
        if self.delta_m is not None:
            self.report['delta_m'] = found = self.delta_m.score(self.report)
            results['delta_m'] = found['delta_m']
            results.update({f'delta_m/{task}': gain for task, gain in found['gains'].items()})
            self.report['metrics'] = dict(results)
        print_log(f'Evaluation of {size} pictures\n{results_table(self.report)}', logger='current')
        return results

    def _make_report(self, results: Mapping[str, float], size: int) -> dict[str, Any]:
        details: dict[str, dict[str, Any]] = {}
        for metric in self.metrics:
            if not isinstance(metric, DenseMetric):
                continue
            for name, value in results.items():
                prefix, _, short = name.partition('/')
                if prefix != metric.prefix or name in details:
                    continue
                # Per-class numbers, 'IoU.bed', are like the mean they belong to.
                kind = f'm{short.partition(".")[0]}' if short.startswith('IoU.') else short
                details[name] = dict(
                    value=value,
                    higher_is_better=metric.higher_is_better[kind],
                    percent=kind in metric.percent,
                    unit=metric.unit.get(short, ''),
                    protocol=metric.protocol,
                )
        headlines = {task: name for task, name in self._headlines().items() if name in results}
        return dict(pictures=size, metrics=dict(results), details=details, headlines=headlines)

    def _headlines(self) -> dict[str, str]:
        return {task.prefix: f'{task.prefix}/{task.headline}' for task in self.tasks.values()}


def format_value(detail: Mapping[str, Any]) -> str:
    """A number as people read it: percent or unit attached, ``-`` where there is none."""
    value = detail['value']
    if math.isnan(value):
        return '-'
    if detail['percent']:
        return f'{100 * value:.2f} %'
    return f'{value:.4f} {detail["unit"]}'.rstrip()


def results_table(
    report: Mapping[str, Any], compared: Mapping[str, Mapping[str, float]] | None = None
) -> str:
    """A terminal table of a report.

    Args:
        report (Mapping): As in :attr:`MultiTaskEvaluator.report`.
        compared (Mapping | None): Column title to results (same names) that are put
            beside the report's own.
    """
    compared = compared or {}
    rows = [['task', 'metric', 'value', *compared, 'better', 'protocol']]
    last_task, last_protocol = None, None
    for name, detail in report['details'].items():
        task, _, metric = name.partition('/')
        star = ' *' if report['headlines'].get(task) == name else ''
        others = [
            format_value(dict(detail, value=values.get(name, math.nan)))
            for values in compared.values()
        ]
        protocol = detail['protocol']
        rows.append(
            [
                task if task != last_task else '',
                metric + star,
                format_value(detail),
                *others,
                'higher' if detail['higher_is_better'] else 'lower',
                protocol if (task, protocol) != (last_task, last_protocol) else '',
            ]
        )
        last_task, last_protocol = task, protocol
    gain = report.get('delta_m')
    if gain:
        against = f'against {gain["reference"]["name"]}'
        for name, value in {**gain['gains'], 'mean': gain['delta_m']}.items():
            percent = '-' if math.isnan(value) else f'{value:+.2f} %'
            blanks = [''] * len(compared)
            rows.append(['delta_m' if against else '', name, percent, *blanks, 'higher', against])
            against = ''
    rows.append(['', '* headline', '', *[''] * len(compared), '', f'{report["pictures"]} pictures'])
    return AsciiTable(rows).table
