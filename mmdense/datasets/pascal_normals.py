"""Which context categories have normals in PASCAL-Context."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from mmengine import fileio

from mmdense.utils import DataError

from .reading import read_list

NUM_CONTEXT_CATEGORIES = 459
#: The published categories.
SHIPPED = Path(__file__).with_name('data') / 'pascal_context_normal_ids.txt'


def normal_categories(context: Mapping[int, str], nyu_names: Collection[str]) -> list[int]:
    """Context categories whose normals are believed (ASTMT).

    The normals were distilled from a network that was trained on NYU-v2, so they are believed
    where the name of the category is one of its 894 names, or is ``tvmonitor``. ``unknown``,
    which is on both lists, names nothing. 169 names and tvmonitor are left, which
    :data:`SHIPPED` lists.

    Args:
        context (Mapping[int, str]): The 459 categories, number to name.
        nyu_names (Collection[str]): The names of NYU-v2.

    Returns:
        list[int]: In rising order.
    """
    known = {*nyu_names, 'tvmonitor'} - {'unknown'}
    return sorted(number for number, name in context.items() if name in known)


def find_normal_categories(
    data_root: str, where: str = '', backend_args: dict[str, Any] | None = None
) -> list[int]:
    """The categories from ``normal_ids.txt`` of the data set, or the published ones.

    Args:
        data_root (str): Folder of the data set, whose ``normal_ids.txt``, if there is one,
            holds a number per line.
        where (str): Another file of numbers.
        backend_args (dict | None): File backend.

    Raises:
        DataError: If a file is not what it should be.
    """
    numbers = where or f'{data_root}/normal_ids.txt'
    if where or fileio.exists(numbers, backend_args=backend_args):
        return _read_numbers(numbers, backend_args)
    return _read_numbers(str(SHIPPED), None)


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
