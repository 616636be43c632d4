"""Looks at checkpoint files before a run depends on them."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from .config_check import ConfigError
from .files import atomic_write_bytes
from .user_errors import places

# A pickle protocol header; checkpoints written before torch 1.6 start with it.
_PICKLE_START = b'\x80'
_HASH_DIGITS = 8  # what torch.hub compares


def save_under_digest(checkpoint: Mapping[str, Any], target: str) -> Path:
    """Write ``<target>-<first digits of its SHA-256>.pth``; it appears whole or not at all."""
    buffer = io.BytesIO()
    torch.save(dict(checkpoint), buffer)
    data = buffer.getvalue()
    digits = hashlib.sha256(data).hexdigest()[:_HASH_DIGITS]
    path = Path(f'{target}-{digits}.pth')
    atomic_write_bytes(path, data)
    return path


def is_remote(path: str) -> bool:
    """Whether mmengine fetches the checkpoint (``https://``, ``torchvision://``, ...)."""
    return '://' in path


def require_checkpoint(path: str, asked_by: str) -> None:
    """Raise unless a local checkpoint is there and whole.

    Only the container is looked at, which takes no time for any size: a copy that was cut
    short lacks the directory at its end.

    Args:
        path (str): File, or a remote address, which is not looked at.
        asked_by (str): The option or config key that names it.

    Raises:
        ConfigError: If the file is missing, empty, cut short, or no checkpoint.
    """
    if is_remote(path):
        return
    where = f"{asked_by} = '{path}'"
    if not os.path.isfile(path):
        kind = 'is a directory' if os.path.isdir(path) else 'does not exist'
        raise ConfigError(f'{where}: this checkpoint {kind}. {_offer(path)}')
    size = os.path.getsize(path)
    if size == 0:
        raise ConfigError(f'{where}: this checkpoint is empty. Copy or download it again.')
    if zipfile.is_zipfile(path):
        return
    with open(path, 'rb') as file:
        start = file.read(2)
    if start[:1] == _PICKLE_START:
        return
    cut = ' It was cut short.' if start == b'PK' else ' It is no file that torch.save wrote.'
    raise ConfigError(
        f'{where}: this checkpoint cannot be read ({size} bytes).{cut} Copy or download it '
        f'again, or take another. {_offer(path)}'
    )


def pretrained_files(cfg: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Key paths and values of every ``init_cfg=dict(type='Pretrained', checkpoint=...)``."""
    for path, value in places(cfg.get('model', {}), 'model'):
        if isinstance(value, Mapping) and value.get('type') == 'Pretrained':
            checkpoint = value.get('checkpoint')
            if isinstance(checkpoint, str):
                yield f'{path}.checkpoint', checkpoint


def _offer(path: str) -> str:
    """Name the checkpoints that lie where one was looked for."""
    folder = path if os.path.isdir(path) else os.path.dirname(path) or '.'
    if not os.path.isdir(folder):
        return f'The folder {folder} does not exist either.'
    found = sorted(
        name
        for name in os.listdir(folder)
        if name.endswith(('.pth', '.pt')) and os.path.join(folder, name) != path
    )
    return f'In {folder} there are: {", ".join(found)}.' if found else f'{folder} holds none.'
