"""Which context categories have normals in PASCAL-Context."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from mmengine import fileio
from mmengine.logging import print_log

from mmdense.utils import DataError

from .reading import read_list

NUM_CONTEXT_CATEGORIES = 459
#: Categories that the rule must find (wall, floor, person, car, table, chair, tvmonitor).
_ALWAYS = {440: 'wall', 158: 'floor', 284: 'person', 59: 'car', 397: 'table', 72: 'chair',
           427: 'tvmonitor'}  # fmt: skip


def normal_categories(context: Mapping[int, str], nyu_names: Collection[str]) -> list[int]:
    """Context categories whose normals are believed (ASTMT).

    The normals were distilled from a network that was trained on NYU-v2, so they are believed
    where the name of the category is one of its 894 names (169 are), or is ``tvmonitor``.

    Args:
        context (Mapping[int, str]): The 459 categories, number to name.
        nyu_names (Collection[str]): The names of NYU-v2.

    Returns:
        list[int]: In rising order.
    """
    known = {*nyu_names, 'tvmonitor'}
    return sorted(number for number, name in context.items() if name in known)


def find_normal_categories(
    data_root: str, where: str = '', backend_args: dict[str, Any] | None = None
) -> list[int]:
    """The categories from ``normal_ids.txt``, or made from the two lists of names.

    Args:
        data_root (str): Folder of the data set. ``normal_ids.txt`` holds a number per line;
            otherwise ``pascal-context/labels.txt`` (``440: wall`` and so on, as PASCAL-Context
            comes with) and ``nyu_names.txt`` (a name per line) are read.
        where (str): Another file of numbers.
        backend_args (dict | None): File backend.

    Raises:
        DataError: If none of them is there, or one is not what it should be.
    """
    numbers = where or f'{data_root}/normal_ids.txt'
    if where or fileio.exists(numbers, backend_args=backend_args):
        return _read_numbers(numbers, backend_args)
    labels, names = f'{data_root}/pascal-context/labels.txt', f'{data_root}/nyu_names.txt'
    if not all(fileio.exists(path, backend_args=backend_args) for path in (labels, names)):
        raise DataError(
            f"PASCALContextDataset: task 'normal' needs the context categories that have normals, "
            f"and neither '{numbers}' nor both '{labels}' and '{names}' exist. Put labels.txt of "
            'PASCAL-Context and the 894 names of NYU-v2 (variable `names` of '
            'nyu_depth_v2_labeled.mat, one per line) there, convert the data set by '
            'tools/dataset_converters/pascal_context.py with --context-names and --nyu-names, set '
            '`normal_ids` to the categories, or '
            "normal_valid='all' to use the normals of every pixel, which no published number does."
        )
    context = read_context_names(labels, backend_args)
    found = normal_categories(context, read_list(names, backend_args))
    wrong = {number: name for number, name in _ALWAYS.items() if number not in found}
    if wrong:
        raise DataError(
            f"'{labels}' and '{names}' share {len(found)} names, but not {wrong}; one of them is "
            'not the original list.'
        )
    print_log(
        f'PASCALContextDataset: normals are known in {len(found)} context categories, by '
        f"'{labels}' and '{names}'.",
        logger='current',
    )
    return found


def read_context_names(path: str, backend_args: dict[str, Any] | None = None) -> dict[int, str]:
    """Lines ``number: name`` of PASCAL-Context's ``labels.txt``.

    Raises:
        DataError: If a line has another form.
    """
    found = {}
    for line in read_list(path, backend_args):
        number, mark, name = line.partition(':')
        if not mark or not number.strip().isdecimal():
            raise DataError(f"{path}: the line '{line[:80]}' is not 'number: name'.")
        found[int(number)] = name.strip()
    return found


def check_categories(ids: Iterable[int]) -> list[int]:
    """``ids`` as integers.

    Raises:
        DataError: If there is none, or one is no context category.
    """
    numbers = [int(one) for one in ids]
    wrong = [one for one in numbers if not 1 <= one <= NUM_CONTEXT_CATEGORIES]
    if wrong or not numbers:
        raise DataError(
            f'PASCALContextDataset: `normal_ids` has {len(numbers)} categories'
            f'{f", among them {wrong[0]}" if wrong else ""}; expected some of 1 to '
            f'{NUM_CONTEXT_CATEGORIES}.'
        )
    return numbers


def _read_numbers(path: str, backend_args: dict[str, Any] | None) -> list[int]:
    """The first word of each line; lines that begin with # are comments."""
    lines = [line for line in read_list(path, backend_args) if not line.startswith('#')]
    words = [line.split()[0].rstrip(':') for line in lines]
    for word in words:
        if not word.isdecimal():
            raise DataError(f"{path}: '{word}' is no category number.")
    return [int(word) for word in words]
