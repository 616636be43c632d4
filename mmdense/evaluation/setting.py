"""How numbers were made: what must agree before they may be compared."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mmdense.utils import DataError

#: What :func:`compare_settings` and the protocols of metrics are checked for.
ASPECTS = ('protocol', 'data', 'pictures', 'resolution', 'backbone', 'schedule')


class SettingMismatch(DataError):
    """Numbers that were made in different ways were about to be compared."""


@dataclass(frozen=True)
class Backbone:
    """What a network is built on.

    Args:
        name (str | None): Short name as in config files: ``r18-thin``, ``swin-t``.
        description (str | None): Type and arguments of the config.
        weights (str | None): Where its weights came from.
    """

    name: str | None = None
    description: str | None = None
    weights: str | None = None

    @classmethod
    def read(cls, value: Any) -> Backbone:
        """From a results or reference file: a name, or a mapping of the fields."""
        if value is None or isinstance(value, str):
            return cls(name=value)
        return cls(*(value.get(key) for key in ('name', 'description', 'weights')))

    def __str__(self) -> str:
        known = [self.name, self.description, self.weights and f'weights {self.weights}']
        return ', '.join(part for part in known if part) or 'unknown'

    def agrees(self, other: Backbone) -> bool | None:
        """Whether both are the same; None if they share no field to tell by."""
        if self.description and other.description:
            same = self.description == other.description
            if self.weights and other.weights:
                same = same and self.weights == other.weights
            return same
        if self.name and other.name:
            return _plain(self.name) == _plain(other.name)
        return None


@dataclass(frozen=True)
class Setting:
    """Data, network and schedule behind a set of numbers; None is unknown.

    Args:
        data (str | None): Short name of the data, on which evaluation profiles depend.
        dataset (str | None): Class of the data set.
        split (str | None): Its split.
        pictures (int | None): Number of pictures that were scored.
        resolution (str | None): Size at which they were scored, ``'425x560'``; ``'various'``
            if pictures differ.
        backbone (Backbone): What the network is built on.
        iterations (int | None): Length of the training.
        batch_size (int | None): Pictures per step, over all processes.
    """

    data: str | None = None
    dataset: str | None = None
    split: str | None = None
    pictures: int | None = None
    resolution: str | None = None
    backbone: Backbone = field(default_factory=Backbone)
    iterations: int | None = None
    batch_size: int | None = None

    @classmethod
    def read(cls, report: Mapping[str, Any]) -> Setting:
        """From the report of an evaluator or a results file (keys ``run``, ``pictures``, ...)."""
        run = report.get('run') or {}
        data, schedule = run.get('data') or {}, run.get('schedule') or {}
        return cls(
            data=report.get('data'),
            dataset=data.get('dataset'),
            split=data.get('split'),
            pictures=_scored(report),
            resolution=_one_size(report.get('resolution')),
            backbone=Backbone.read(run.get('backbone')),
            iterations=schedule.get('iterations'),
            batch_size=schedule.get('batch_size'),
        )

    def parts(self, aspect: str) -> dict[str, Any]:
        """The fields of one of :data:`ASPECTS` but ``backbone`` and ``protocol``."""
        names = dict(
            data=('data', 'dataset', 'split'),
            pictures=('pictures',),
            resolution=('resolution',),
            schedule=('iterations', 'batch_size'),
        )[aspect]
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Mismatch:
    """One thing in which a run and what it is held against differ."""

    aspect: str
    subject: str
    run: str
    reference: str

    def __str__(self) -> str:
        return f'{self.subject}: run {self.run!r}, reference {self.reference!r}'


def compare_settings(run: Setting, reference: Setting) -> tuple[list[Mismatch], list[str]]:
    """What differs, and what cannot be told because one side does not say.

    Returns:
        tuple: Mismatches, and names of the fields that were left unchecked.
    """
    mismatches: list[Mismatch] = []
    unchecked: list[str] = []
    same = run.backbone.agrees(reference.backbone)
    if same is None:
        unchecked.append('backbone')
    elif not same:
        mismatches.append(
            Mismatch('backbone', 'backbone', str(run.backbone), str(reference.backbone))
        )
    for aspect in ('data', 'pictures', 'resolution', 'schedule'):
        ours, theirs = run.parts(aspect), reference.parts(aspect)
        unknown = [name for name in ours if ours[name] is None or theirs[name] is None]
        # Either of the two names of a data set tells what it is.
        if not {'data', 'dataset'} <= set(unknown):
            unknown = [name for name in unknown if name not in ('data', 'dataset')]
        unchecked += [name for name in unknown if name != 'data']
        for name in ours:
            if ours[name] is None or theirs[name] is None:
                continue
            if _plain(ours[name]) != _plain(theirs[name]):
                mismatches.append(Mismatch(aspect, name, str(ours[name]), str(theirs[name])))
    return mismatches, unchecked


def require_equal(mismatches: list[Mismatch], where: str, remedy: str) -> None:
    """Raise :class:`SettingMismatch` with both sides of every mismatch, if there is any."""
    if not mismatches:
        return
    lines = '\n'.join(f'  {mismatch}' for mismatch in mismatches)
    aspects = ', '.join(repr(a) for a in dict.fromkeys(m.aspect for m in mismatches))
    raise SettingMismatch(
        f'{where}: these numbers were made in different ways and must not be compared:\n{lines}\n'
        f'{remedy} To compare nevertheless, allow {aspects}; the results then say so.'
    )


def _scored(report: Mapping[str, Any]) -> int | None:
    """Pictures without those that could not be read."""
    pictures = report.get('pictures')
    return None if pictures is None else pictures - report.get('unreadable', 0)


def _one_size(resolution: Any) -> str | None:
    """From sizes and how many pictures have them."""
    if not resolution or isinstance(resolution, str):
        return resolution or None
    return next(iter(resolution)) if len(resolution) == 1 else 'various'


def _plain(value: Any) -> str:
    """Letters and digits only: ``Swin-T`` and ``swin_t`` are one name."""
    return re.sub(r'[^a-z0-9]', '', str(value).lower())
