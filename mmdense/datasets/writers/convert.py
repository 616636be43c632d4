"""From a source of pictures to a layout: in parallel, with a progress bar, and resumable."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mmdense.utils import DataError
from mmdense.utils.files import atomic_write_json
from mmdense.utils.jobs import run_jobs

from .base import LayoutWriter

#: File at the root of a converted data set that says how it was made.
STATE_FILE = 'conversion.json'


class Source(Protocol):
    """Where pictures come from. Picklable: workers get a copy, and open files themselves."""

    @property
    def tasks(self) -> Sequence[str]:
        """Tasks that every picture has; what a resumed conversion expects to find."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """What decides the content of a picture, as JSON; a resumed conversion must agree."""

    def ids(self) -> Mapping[str, Sequence[str]]:
        """Split to the sample ids of its pictures, '' to have the writer make one."""

    def read(self, split: str, index: int) -> dict[str, Any]:
        """One picture, as :meth:`~.base.LayoutWriter.write` takes it."""


@dataclass(frozen=True)
class Converted:
    """What a conversion did: pictures ``written`` now, and ``kept`` from before."""

    written: int
    kept: int


_Job = tuple[str, int]


def convert(source: Source, writer: LayoutWriter, workers: int = 0, show: bool = True) -> Converted:
    """Write all pictures of ``source`` with ``writer``, then its lists.

    Pictures whose files are there are kept, so that a conversion that was stopped, by
    whatever means, goes on when it is started again.

    Args:
        source (Source): Where the pictures come from.
        writer (LayoutWriter): Where they go.
        workers (int): Processes besides this one; 0 does everything here.
        show (bool): Whether to draw a progress bar.

    Raises:
        DataError: If a picture cannot be read or written (those before it stay), or the
            folder holds pictures of other settings.
    """
    settings = dict(writer=type(writer).__name__, source=type(source).__name__, **source.settings)
    _begin(writer.root, settings, writer.overwrite)
    jobs: list[_Job] = []
    names: list[tuple[str, str]] = []
    for split, ids in source.ids().items():
        for index, sample_id in enumerate(ids):
            name = writer.name(split, index, sample_id)
            names.append((split, name))
            if not writer.done(split, name, source.tasks):
                jobs.append((split, index))
    for _ in run_jobs(_write, (source, writer), jobs, workers, show):
        pass
    # In the order of the source, whatever was written now or before, here or by workers.
    writer.names.clear()
    for split, name in names:
        writer.record(split, name)
    writer.finish()
    _keep(writer.root, settings, finished=True)
    return Converted(len(jobs), len(names) - len(jobs))


def _write(shared: tuple[Source, LayoutWriter], job: _Job) -> None:
    source, writer = shared
    split, index = job
    writer.write(split, index, source.read(split, index))


def _begin(root: Path, settings: Mapping[str, Any], overwrite: bool) -> None:
    """Mark the folder as unfinished, unless it was made with other settings."""
    before = read_state(root)
    if before is None:
        _keep(root, settings, finished=False)
        return
    old = before['settings']
    changed = sorted(key for key in {*old, *settings} if old.get(key) != settings.get(key))
    if changed and not overwrite:
        was, now = ({key: one.get(key) for key in changed} for one in (old, settings))
        raise DataError(
            f"'{root}' holds a conversion with other settings: {was}, now {now}. Its pictures "
            'would be mixed. Choose another --out, or add --overwrite to write everything anew.'
        )
    if before['replacing'] and not overwrite:
        raise DataError(
            f"'{root}' holds a conversion that was stopped while it replaced one of other "
            'settings: its pictures are mixed. Add --overwrite again, or choose another --out.'
        )
    _keep(root, settings, finished=False, replacing=bool(changed) or before['replacing'])


def _keep(root: Path, settings: Mapping[str, Any], finished: bool, replacing: bool = False) -> None:
    content = dict(finished=finished, replacing=replacing, settings=settings)
    atomic_write_json(root / STATE_FILE, content)


def read_state(root: Path) -> dict[str, Any] | None:
    """What :data:`STATE_FILE` says; None without one.

    Returns:
        dict | None: ``settings``; ``finished``, whether it reached its end; ``replacing``,
        whether it began over pictures of other settings.

    Raises:
        DataError: If the file is damaged.
    """
    path = root / STATE_FILE
    try:
        state = json.loads(path.read_text())
        return {
            'settings': dict(state['settings']),
            'finished': bool(state['finished']),
            'replacing': bool(state['replacing']),
        }
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f'{path}: is damaged ({error}). Remove it if you know how the folder was made.'
        ) from error
