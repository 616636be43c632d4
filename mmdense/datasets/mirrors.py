"""Where the data sets can be had, and what each place lacks: ``data/mirrors.yaml``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mmengine import fileio

from mmdense.utils import DataError, suggest

_FILE = Path(__file__).parent / 'data' / 'mirrors.yaml'


@dataclass(frozen=True)
class Mirror:
    """A place where a data set, or a part of it, can be had.

    Attributes:
        name: What its makers call it.
        url: Page or file; '' where none is known with certainty.
        content: What is in it.
        lacks: What is not, and known damage.
        terms: Licence or registration.
        sha256: Checksum of the file, None where nobody has stated it.
        checked: Whether it was downloaded and looked at for this list.
    """

    name: str
    url: str
    content: str
    lacks: tuple[str, ...]
    terms: str
    sha256: str | None
    checked: bool


def known_mirrors(dataset: str) -> list[Mirror]:
    """The places of a data set: ``nyud``, ``nyuv2``, ``pascal``, ``cityscapes``, ...

    Raises:
        DataError: If the data set is unknown.
    """
    table = fileio.load(str(_FILE))
    if dataset not in table:
        raise DataError(f"No mirrors are known of '{dataset}'. {suggest(dataset, table)}")
    return [Mirror(**{**entry, 'lacks': tuple(entry['lacks'])}) for entry in table[dataset]]
