"""One evaluator for all tasks, one table with every number and its protocol."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from logging import WARNING
from typing import Any

import numpy as np
from mmengine.evaluator import Evaluator
from mmengine.logging import print_log
from terminaltables import AsciiTable

from mmdense.registry import EVALUATORS, METRICS
from mmdense.tasks import build_tasks
from mmdense.utils import suggest

from .counters import Counters, ExactCounters
from .metrics import StampedMetric
from .metrics.base import as_mapping, map_of, read_map
from .profiles import choose_profile, profile_name

#: Characters of a protocol per row of a table.
PROTOCOL_WIDTH = 60


@EVALUATORS.register_module()
class MultiTaskEvaluator(Evaluator):
    """Evaluates every task with its own metrics.

    Results are named ``<task>/<metric>``. After :meth:`evaluate`, :attr:`report` holds
    them with what is needed to compare them, and one table is in the log.

    Args:
        tasks (Mapping): The tasks of the config.
        metrics (Mapping | Sequence | None): Task name to a list of metric configs that
            replace those of the profile or the task; or a plain list of metrics, mmengine's
            own form, that is used besides them. (The key must be there for mmengine to
            build this class: ``metrics=dict()`` is the common case. Configs that inherit
            ``None`` could not add a metric.)
        profile (str | None): Evaluation profile, see :mod:`.profiles`: the metrics and
            headlines of a line of published work. None with ``data``: the usual one of
            that data set. None without: every task brings its own metrics.
        data (str | None): Short name of the data set, on which profiles depend: ``nyud``,
            ``nyuv2``, ``pascal``, ``cityscapes`` or ``rooms``.
        edge_split (str | None): Profiles of PASCAL-Context score boundaries on the 2498 of
            5105 validation pictures that ``ImageSets/Context/test_new.txt`` of the data set
            lists, as the published numbers do; ``'val_new'`` is the other part. None: on
            all pictures.
        cross_task (Sequence[dict]): Configs of metrics over several tasks, such as
            ``dict(type='NormalDepthConsistencyMetric')``; they are handed ``tasks``.
        delta_m (Mapping | None): Arguments of :class:`DeltaM`, such as
            ``dict(reference='....yaml')``: results get ``delta_m`` and ``delta_m/<task>``,
            the gain over single-task networks in percent.

    Attributes:
        report (dict): ``pictures``: how many; ``unreadable``: how many of them could not be
            read and were not scored (``on_error='skip'``); ``labelled``: task to the number of
            them with a label; ``resolution``: size of the ground truth, ``'425x560'``, to the
            number of pictures; ``profile`` and ``data``; ``metrics``: name to number; ``details``:
            name to ``value``, ``higher_is_better``, ``percent``, ``unit``, ``protocol`` and,
            where a metric leaves pictures out, ``pictures``, the number of those that count;
            ``headlines``: prefix of a task to the name of the number that stands for it.

    Raises:
        KeyError: If ``metrics`` names a task that ``tasks`` does not have, or profile, data
            set or one of the tasks is unknown to the profiles.
    """

    def __init__(
        self,
        tasks: Mapping[str, Any],
        metrics: Mapping[str, Sequence[dict[str, Any]]] | Sequence[Any] | None = None,
        profile: str | None = None,
        data: str | None = None,
        edge_split: str | None = 'test_new',
        cross_task: Sequence[dict[str, Any]] = (),
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
        self.profile, self.data = profile_name(profile, data), data
        wanted = {key: task.headline for key, task in self.tasks.items()}
        if self.profile is not None or data is not None:
            rest = [key for key in self.tasks if key not in chosen]
            for key, protocol in choose_profile(profile, data, rest, edge_split).items():
                chosen[key] = protocol.metrics
                wanted[key] = protocol.headline
        built: list[Any] = []
        self._headline_of: dict[str, str] = {}
        for key, task in self.tasks.items():
            configs = chosen.get(key, task.metrics)
            own = [METRICS.build(cfg, default_args=dict(task=task)) for cfg in configs]
            built += own
            self._headline_of[key] = _headline(task.prefix, wanted[key], own)
        built += [METRICS.build(cfg, default_args=dict(tasks=self.tasks)) for cfg in cross_task]
        if metrics is not None and not isinstance(metrics, Mapping):
            built += list(metrics)
        super().__init__(built)
        self._pictures = ExactCounters()
        self.report: dict[str, Any] = {}
        self.delta_m: Any = None
        if delta_m is not None:
            self.delta_m = METRICS.build(dict(delta_m), default_args=dict(type='DeltaM'))
            self.delta_m.check(self.metrics, self._headlines())

    def process(self, data_samples: Sequence[Any], data_batch: Any = None) -> None:
        """Hand a batch of samples to every metric."""
        samples = [as_mapping(sample) for sample in data_samples]
        for sample in samples:
            self._pictures.add(self._describe(sample))
        super().process(samples, data_batch)

    def _describe(self, sample: Mapping[str, Any]) -> Counters:
        """What a picture adds to the report: its size, and the tasks it has labels for."""
        counted: Counters = {}
        for key, task in self.tasks.items():
            gt = map_of(sample, 'gt', task)
            if gt is not None:
                shape = read_map(gt, task.gt_channels, f"gt of task '{key}'", True).shape
                counted.setdefault('size', np.asarray(shape[:2]))
                counted[f'labelled/{key}'] = np.asarray(1)
        if sample.get('unreadable'):
            counted['unreadable'] = np.asarray(1)
        size = counted.pop('size', None)
        return counted if size is None else {**counted, 'x'.join(map(str, size)): np.asarray(1)}

    def evaluate(self, size: int) -> dict[str, float]:
        """Numbers over the ``size`` pictures of the data set."""
        results = super().evaluate(size)
        pictures = {key: int(value) for key, value in self._pictures.total(size).items()}
        self.report = self._make_report(results, size, pictures)
        if self.delta_m is not None:
            self.report['delta_m'] = found = self.delta_m.score(self.report)
            results['delta_m'] = found['delta_m']
            results.update({f'delta_m/{task}': gain for task, gain in found['gains'].items()})
            self.report['metrics'] = dict(results)
        if self.report['unreadable']:
            print_log(
                f'{self.report["unreadable"]} of {size} pictures could not be read and were not '
                "scored (on_error='skip'); do not compare these numbers with those of all "
                'pictures. tools/dataset_converters/check.py says what is wrong with each.',
                logger='current',
                level=WARNING,
            )
        print_log(f'Evaluation of {size} pictures\n{results_table(self.report)}', logger='current')
        return results

    def _make_report(
        self, results: Mapping[str, float], size: int, counted: Mapping[str, int]
    ) -> dict[str, Any]:
        sizes = [item for item in counted.items() if item[0][0].isdigit()]
        return dict(
            pictures=size,
            unreadable=counted.get('unreadable', 0),
            labelled={key: counted.get(f'labelled/{key}', 0) for key in self.tasks},
            # Most frequent first; equal counts by name, so that the order is fixed.
            resolution=dict(sorted(sizes, key=lambda item: (-item[1], item[0]))),
            profile=self.profile,
            data=self.data,
            metrics=dict(results),
            details=self._details(results),
            headlines={
                prefix: name for prefix, name in self._headlines().items() if name in results
            },
        )

    def _headlines(self) -> dict[str, str]:
        """Prefix of each task to the name of the number that stands for it."""
        return {
            task.prefix: f'{task.prefix}/{self._headline_of[key]}'
            for key, task in self.tasks.items()
        }

    def _details(self, results: Mapping[str, float]) -> dict[str, dict[str, Any]]:
        details: dict[str, dict[str, Any]] = {}
        for metric in self.metrics:
            if not isinstance(metric, StampedMetric):
                continue
            for name, value in results.items():
                prefix, _, short = name.partition('/')
                # Per-class numbers, 'IoU.bed', are like the mean they belong to.
                kind = f'm{short.partition(".")[0]}' if short.startswith('IoU.') else short
                # Two metrics of a task share a prefix; each describes its own numbers.
                if (
                    prefix != metric.prefix
                    or name in details
                    or kind not in metric.higher_is_better
                ):
                    continue
                details[name] = dict(
                    value=value,
                    higher_is_better=metric.higher_is_better[kind],
                    percent=kind in metric.percent,
                    unit=metric.unit.get(short, ''),
                    protocol=metric.protocol,
                )
                if metric.pictures is not None:
                    details[name]['pictures'] = metric.pictures
        return details


def _headline(prefix: str, wanted: str, metrics: Sequence[Any]) -> str:
    """``wanted`` if the metrics of a task give it, else the first number that they give."""
    names = [
        name
        for metric in metrics
        if getattr(metric, 'prefix', None) == prefix
        for name in getattr(metric, 'higher_is_better', ())
    ]
    return names[0] if names and wanted not in names else wanted


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
    protocols = _spread_protocols(report['details'])
    last_task = None
    for name, detail in report['details'].items():
        task, _, metric = name.partition('/')
        star = ' *' if report['headlines'].get(task) == name else ''
        others = [
            format_value(dict(detail, value=values.get(name, math.nan)))
            for values in compared.values()
        ]
        rows.append(
            [
                task if task != last_task else '',
                metric + star,
                format_value(detail),
                *others,
                {True: 'higher', False: 'lower', None: '-'}[detail['higher_is_better']],
                protocols[name],
            ]
        )
        last_task = task
    gain = report.get('delta_m')
    if gain:
        against = f'against {gain["reference"]["name"]}'
        for name, value in {**gain['gains'], 'mean': gain['delta_m']}.items():
            percent = '-' if math.isnan(value) else f'{value:+.2f} %'
            blanks = [''] * len(compared)
            rows.append(['delta_m' if against else '', name, percent, *blanks, 'higher', against])
            against = ''
    rows.append(['', '* headline', '', *[''] * len(compared), '', describe_pictures(report)])
    return AsciiTable(rows).table


def _spread_protocols(details: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Name of a number to its part of the protocol, which runs down the rows of its metric.

    A protocol in one cell would make the table wider than any terminal.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for name, detail in details.items():
        protocol = detail['protocol']
        if 'pictures' in detail:
            protocol += f': {detail["pictures"]}'
        groups.setdefault((name.partition('/')[0], protocol), []).append(name)
    cells: dict[str, str] = {}
    for (_, protocol), names in groups.items():
        lines = textwrap.wrap(protocol, PROTOCOL_WIDTH)
        cells.update(zip(names, [*lines[: len(names) - 1], *[''] * len(names)]))
        # What does not fit into the rows goes into the last one.
        cells[names[-1]] = '\n'.join(lines[len(names) - 1 :])
    return cells


def describe_pictures(report: Mapping[str, Any]) -> str:
    """Number of pictures, their resolution and the profile of a report, in one line."""
    parts = [f'{report["pictures"]} pictures']
    if report.get('unreadable'):
        parts.append(f'({report["unreadable"]} unreadable)')
    sizes = list(report.get('resolution') or {})
    if len(sizes) == 1:
        parts.append(f'of {sizes[0]}')
    elif sizes:
        parts.append(f'of {len(sizes)} sizes, {sizes[0]} most often')
    text = ' '.join(parts)
    if report.get('profile'):
        text += f'; profile {report["profile"]} on {report["data"]}'
    return text
