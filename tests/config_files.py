"""Configs, each read once in a run of the tests."""

import copy
from functools import cache
from pathlib import Path

from mmengine.config import Config


@cache
def _read(path: Path) -> Config:
    return Config.fromfile(path)


def load_file(path: Path | str) -> Config:
    """A config that the caller may change."""
    return copy.deepcopy(_read(Path(path).resolve()))
