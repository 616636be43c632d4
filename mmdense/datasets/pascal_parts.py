"""Human parts of PASCAL-Part: objects of a ``.mat`` file to one label map."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from mmengine import fileio
from mmengine.logging import print_log

from mmdense.tasks.part import PART_CLASSES
from mmdense.utils import DataError
from mmdense.utils.files import atomic_write_text
from mmdense.utils.jobs import run_jobs

from .matlab import read_mat
from .reading import Array

PERSON = 15

#: Kind of part, without its side, to the label in each granularity.
_LABELS = {
    #          1, 4, 6, 14
    'hair':  (1, 1, 1, 1), 'head':  (1, 1, 1, 2), 'ear':   (1, 1, 1, 3),
    'ebrow': (1, 1, 1, 4), 'eye':   (1, 1, 1, 4), 'nose':  (1, 1, 1, 5),
    'mouth': (1, 1, 1, 6), 'neck':  (1, 2, 2, 7), 'torso': (1, 2, 2, 8),
    'uarm':  (1, 3, 3, 9), 'larm':  (1, 3, 4, 10), 'hand': (1, 3, 4, 11),
    'uleg':  (1, 4, 5, 12), 'lleg': (1, 4, 6, 13), 'foot': (1, 4, 6, 14),
}  # fmt: skip
_MIDDLE = ('hair', 'head', 'nose', 'mouth', 'neck', 'torso')

#: Number of parts to the names of the classes, background first.
PART_GRANULARITIES: dict[int, tuple[str, ...]] = {
    1: ('background', 'person'),
    4: ('background', 'head', 'torso', 'arm', 'leg'),
    6: PART_CLASSES,
    14: (
        'background', 'hair', 'head', 'ear', 'eye', 'nose', 'mouth', 'neck', 'torso', 'upper arm',
        'lower arm', 'hand', 'upper leg', 'lower leg', 'foot',
    ),
}  # fmt: skip


def part_labels(granularity: int) -> dict[str, int]:
    """The 24 part names of a person (``lear``, ``rear``, ``hair``...) to labels.

    Args:
        granularity (int): 1, 4, 6 or 14 parts. 6 is the usual one: ears, eyes and so on are
            head, necks torso, hands lower arm, feet lower leg. In 14, left and right are one
            and an eyebrow is part of the eye; numbers follow :data:`PART_GRANULARITIES`, which
            may be other ones than those of other code.

    Raises:
        ValueError: If ``granularity`` is unknown.
    """
    if granularity not in PART_GRANULARITIES:
        raise ValueError(
            f'part_granularity is {granularity!r}; choose one of {list(PART_GRANULARITIES)}.'
        )
    column = list(PART_GRANULARITIES).index(granularity)
    table = {}
    for kind, labels in _LABELS.items():
        for side in ('',) if kind in _MIDDLE else ('l', 'r'):
            table[side + kind] = labels[column]
    return table


class PartObject(NamedTuple):
    """An object of PASCAL-Part: category 1..20 and its part masks ``(H, W)``, not 0 inside."""

    category: int
    parts: list[tuple[str, Array]]


def read_objects(path: str, backend_args: dict[str, Any] | None = None) -> list[PartObject]:
    """The objects of a file of PASCAL-Part, in file order.

    The struct ``anno`` holds the image name and the objects; an object its class name, its
    category, its mask and its parts; a part its name and its mask.

    Raises:
        DataError: If the file is damaged or laid out otherwise.
    """
    anno = read_mat(path, 'anno', backend_args)
    try:
        objects = _records(_records(anno)[0][1])
        found = []
        for record in objects:
            parts = [
                (str(np.asarray(part[0]).item()), np.asarray(part[1]))
                for part in _records(record[3])
            ]
            found.append(PartObject(int(np.asarray(record[1]).item()), parts))
    except (IndexError, TypeError, ValueError) as error:
        raise DataError(
            f'{path}: `anno` is not laid out as PASCAL-Part writes it ({error}); expected a struct '
            '(imname, objects) of structs (class, class_ind, mask, parts) of structs (part_name, '
            'mask).'
        ) from error
    return found


def _records(value: Any) -> list[tuple[Any, ...]]:
    """Entries of a struct array, each with its fields in order; [] for an empty array."""
    array = np.asarray(value)
    if not array.size:
        return []
    if array.dtype.names is None:
        raise TypeError(f'a struct was expected where {array.dtype} {array.shape} lies')
    return [tuple(entry) for entry in array.ravel()]


def paint_parts(
    objects: Sequence[PartObject],
    labels: Mapping[str, int],
    size: tuple[int, int],
    path: str,
) -> Array:
    """Label map of the persons that have parts; later parts overwrite earlier ones.

    Args:
        objects (Sequence[PartObject]): In file order.
        labels (Mapping[str, int]): Part name to label.
        size (tuple[int, int]): Height and width of the picture.
        path (str): The file, for messages.

    Returns:
        Array: uint8 ``(H, W)``; 0 where there is no part.

    Raises:
        DataError: If a part is unknown or of another size.
    """
    painted = np.zeros(size, np.uint8)
    for category, parts in objects:
        if category != PERSON:
            continue
        for name, mask in parts:
            if name not in labels:
                raise DataError(
                    f"{path}: a person has the part '{name}'; known are {', '.join(labels)}."
                )
            if mask.shape != size:
                raise DataError(
                    f"{path}: the mask of part '{name}' is {mask.shape}, the picture {size} (H, W)."
                )
            painted[mask != 0] = labels[name]
    return painted


def object_categories(
    cache: str,
    files: Mapping[str, str | None],
    backend_args: dict[str, Any] | None = None,
    skip_damaged: bool = False,
    show: bool = True,
) -> dict[str, list[int]]:
    """Categories of the objects of every picture, from a cache that is rebuilt if it differs.

    Args:
        cache (str): JSON file, picture to list of categories.
        files (Mapping[str, str | None]): Picture to its file of parts; None: it has none, and
            no categories.
        backend_args (dict | None): File backend.
        skip_damaged (bool): Whether a damaged file is no error. Its picture counts as one with
            a person, so that it stays on the list and fails when it is read, and no cache is
            written.
        show (bool): Whether to draw a progress bar.

    Raises:
        DataError: If a file of parts is damaged, unless ``skip_damaged``.
    """
    known = _read_cache(cache, backend_args)
    if known is not None and known.keys() == files.keys():
        return known
    print_log(
        f"Listing the objects of {len(files)} pictures for '{cache}', once.", logger='current'
    )
    found: dict[str, list[int]] = {}
    damaged = 0
    for name, categories in run_jobs(_categories, backend_args, list(files.items()), show=show):
        if isinstance(categories, DataError):
            if not skip_damaged:
                raise categories
            damaged += 1
            categories = [PERSON]
        found[name] = categories
    if damaged:
        return found
    try:
        atomic_write_text(cache, json.dumps(found))
    except OSError as error:
        print_log(
            f"The list of objects cannot be kept in '{cache}' ({error}); every start will read all "
            'files of parts again. Make the folder writable to spare that.',
            logger='current',
            level=30,
        )
    return found


def _categories(
    backend_args: dict[str, Any] | None, job: tuple[str, str | None]
) -> tuple[str, list[int] | DataError]:
    """A picture, and the categories of its objects or why they cannot be read."""
    name, path = job
    try:
        return name, [one.category for one in read_objects(path, backend_args)] if path else []
    except DataError as error:
        return name, error


def _read_cache(cache: str, backend_args: dict[str, Any] | None) -> dict[str, list[int]] | None:
    """The cache if it is there and whole; it can always be made again."""
    if not fileio.isfile(cache, backend_args=backend_args):
        return None
    try:
        known = json.loads(fileio.get_text(cache, backend_args=backend_args))
    except (ValueError, OSError, RecursionError) as error:
        print_log(f"'{cache}' is damaged ({error}) and made again.", logger='current', level=30)
        return None
    fits = isinstance(known, dict) and all(
        isinstance(value, list) and all(isinstance(one, int) for one in value)
        for value in known.values()
    )
    return known if fits else None
