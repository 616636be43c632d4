"""Configs by name: of the checkout, or those that were installed with the package."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path

from .config_check import ConfigError

_PACKAGE = Path(__file__).resolve().parents[1]


def config_folders() -> Iterator[Path]:
    """Folders that hold configs: ``configs/`` of the checkout, else of the installed package."""
    for folder in (_PACKAGE.parent / 'configs', _PACKAGE / '.mim' / 'configs'):
        # A stray `configs` beside an installed package is not ours.
        if (folder / '_base_' / 'default_runtime.py').is_file():
            yield folder


def known_configs() -> dict[str, Path]:
    """Name (file stem) of every config to its file; pieces that configs are made of are left out.

    Raises:
        ConfigError: If no folder of configs is found.
    """
    for folder in config_folders():
        files = sorted(folder.rglob('*.py'))
        return {path.stem: path for path in files if '_base_' not in path.parts}
    raise ConfigError(
        f'No configs are found beside or inside {_PACKAGE}. Install mmdense with pip, which brings '
        'them along, or name a config by its path.'
    )


def resolve_config(name_or_path: str | Path) -> str:
    """The file of a config that is given by path or by name.

    Args:
        name_or_path (str | Path): A file; or the name of a config of mmdense, with or without
            ``.py`` and folders: ``'demt_r18-thin_1xb8-600_rooms-96x128'``.

    Returns:
        str: Path of the file.

    Raises:
        ConfigError: If there is neither such a file nor such a config.
    """
    path = Path(name_or_path)
    if path.is_file():
        return str(path)
    known = known_configs()
    name = path.name.removesuffix('.py')
    if name in known:
        return str(known[name])
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    hint = f'Did you mean {" or ".join(close)}?' if close else 'Their names are those of the files.'
    raise ConfigError(
        f"config '{name_or_path}' is neither a file nor one of the {len(known)} configs of mmdense "
        f'by name. {hint}'
    )


__all__ = ['config_folders', 'known_configs', 'resolve_config']
