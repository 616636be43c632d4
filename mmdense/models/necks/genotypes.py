"""Which context every pair of tasks uses: the genotypes of ATRC."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from mmdense.utils import suggest

#: Context types by code.
CONTEXT_TYPES = ('none', 'global', 'local', 'target_label', 'source_label')

Rows = tuple[tuple[int, ...], ...]
#: What a config may give as a genotype.
GenotypeConfig = str | Path | Sequence[Sequence[int | str]]

_NYUD = ('semseg', 'depth', 'normal', 'boundary')
_PASCAL = ('semseg', 'part', 'saliency', 'normal', 'boundary')
#: Name to tasks and codes: a row per target, an entry per source.
PUBLISHED: dict[str, tuple[tuple[str, ...], Rows]] = {
    'nyud-hrnet18': (_NYUD, ((3, 3, 4, 4), (4, 3, 4, 4), (4, 3, 3, 4), (3, 3, 1, 3))),
    'nyud-hrnet48': (_NYUD, ((3, 0, 0, 4), (4, 1, 1, 4), (4, 1, 1, 4), (3, 3, 3, 3))),
    'pascal-hrnet18': (
        _PASCAL,
        (
            (3, 3, 4, 0, 4),
            (3, 3, 4, 3, 4),
            (3, 3, 3, 4, 3),
            (3, 3, 3, 3, 4),
            (3, 3, 3, 1, 3),
        ),
    ),
}


def read_genotype(genotype: GenotypeConfig, tasks: Sequence[str]) -> Rows:
    """Codes of all pairs, a row per target and an entry per source, in the order of ``tasks``.

    Args:
        genotype (str | Path | Sequence): A name of :data:`PUBLISHED`; ``'all-<code>'`` for one
            type everywhere; a JSON file with ``tasks`` and ``genotype`` as the search writes it;
            or the rows, of codes 0 to 4 or names of :data:`CONTEXT_TYPES`.
        tasks (Sequence[str]): Task names of the model.

    Raises:
        FileNotFoundError: If a file is absent.
        ValueError: If the genotype is of other tasks, not square, or has an unknown code.
    """
    if isinstance(genotype, str | Path):
        owners, rows = _by_name(str(genotype), tasks)
        if set(owners) != set(tasks):
            raise ValueError(
                f'genotype {str(genotype)!r} is of the tasks {list(owners)}, the model has '
                f'{list(tasks)}. Search one for these tasks, or choose one type everywhere, for '
                "example 'all-3'."
            )
        # Tasks are found by name: their order in a config is free.
        order = [list(owners).index(task) for task in tasks]
        rows = [[rows[t][s] for s in order] for t in order]
    else:
        rows = genotype
    if len(rows) != len(tasks) or any(len(row) != len(tasks) for row in rows):
        raise ValueError(
            f'genotype has rows of {[len(row) for row in rows]} entries, expected {len(tasks)} '
            f'rows of {len(tasks)}: one per task, {list(tasks)}.'
        )
    return tuple(tuple(_code(entry) for entry in row) for row in rows)


def _by_name(name: str, tasks: Sequence[str]) -> tuple[Sequence[str], Sequence[Sequence]]:
    """Tasks and rows of a published genotype, one type everywhere, or a file."""
    if name in PUBLISHED:
        return PUBLISHED[name]
    if match := re.fullmatch(r'all-(\w+)', name):
        entry = match[1]
        code = _code(int(entry) if entry.isdigit() else entry)
        return tasks, [[code] * len(tasks)] * len(tasks)
    if name.endswith('.json'):
        if not Path(name).is_file():
            raise FileNotFoundError(
                f'genotype {name!r} does not exist. A search writes it into its work directory at '
                'the end.'
            )
        found = json.loads(Path(name).read_text())
        return found['tasks'], found['genotype']
    names = [*PUBLISHED, *(f'all-{code}' for code in range(len(CONTEXT_TYPES)))]
    raise ValueError(f'genotype {name!r} is unknown. {suggest(name, names)} Or give a JSON file.')


def _code(entry: int | str) -> int:
    """Code of a context type given by code or name."""
    if isinstance(entry, str) and entry in CONTEXT_TYPES:
        return CONTEXT_TYPES.index(entry)
    if isinstance(entry, int) and 0 <= entry < len(CONTEXT_TYPES):
        return entry
    raise ValueError(
        f'genotype has the entry {entry!r}; choose a code of 0..{len(CONTEXT_TYPES) - 1} or a name '
        f'of {CONTEXT_TYPES}.'
    )
