"""Checkpoint files: written under their digest, read in every format, checked before use."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor

from .config_check import ConfigError
from .files import atomic_write_bytes
from .lazy import require
from .user_errors import places

#: Entry of ``meta`` in which a published file says what it is.
RECORD = 'mmdense'
SAFETENSORS = '.safetensors'
# A pickle protocol header; checkpoints written before torch 1.6 start with it.
_PICKLE_START = b'\x80'
_HASH_DIGITS = 8  # what torch.hub compares


def save_under_digest(checkpoint: Mapping[str, Any], target: str, suffix: str = '.pth') -> Path:
    """Write ``<target>-<first digits of its SHA-256><suffix>``; it appears whole or not at all.

    Args:
        checkpoint (Mapping): ``state_dict`` and what else is kept; in a ``.safetensors`` file,
            ``meta`` only, as JSON.
        target (str): Path without digits and suffix.
        suffix (str): ``'.pth'`` or ``'.safetensors'``.
    """
    data = _as_safetensors(checkpoint) if suffix == SAFETENSORS else _as_pth(checkpoint)
    digits = hashlib.sha256(data).hexdigest()[:_HASH_DIGITS]
    path = Path(f'{target}-{digits}{suffix}')
    atomic_write_bytes(path, data)
    return path


def _as_pth(checkpoint: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(dict(checkpoint), buffer)
    return buffer.getvalue()


def _as_safetensors(checkpoint: Mapping[str, Any]) -> bytes:
    # Its metadata are texts.
    metadata = {'format': 'pt', 'meta': json.dumps(checkpoint.get('meta') or {})}
    save = _safetensors('writing a .safetensors file').save
    data: bytes = save(dict(checkpoint['state_dict']), metadata)
    return data


def _safetensors(asked_by: str) -> Any:
    return require('safetensors.torch', asked_by, 'pip install safetensors')


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and values, in the order of the names.

    The same weights have one digest in files of every format.
    """
    digest = hashlib.sha256()
    for name in sorted(weights):
        value = weights[name].detach().cpu().contiguous()
        digest.update(f'{name} {value.dtype} {tuple(value.shape)}\n'.encode())
        # As bytes: numpy knows no bfloat16.
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def read_checkpoint(path: str | Path, map_location: Any = 'cpu') -> dict[str, Any]:
    """Read a checkpoint file of either format; the weights of a published one are verified.

    Args:
        path (str | Path): ``.safetensors``, or what ``torch.save`` wrote. mmengine stores
            classes of its own in the checkpoints of a run, so that those are unpickled: read no
            file of a stranger that ``torch.load(path, weights_only=True)`` refuses.
        map_location (Any): As in ``torch.load``.

    Returns:
        dict: ``state_dict`` and what else is in the file.

    Raises:
        ConfigError: If the file holds no dictionary, or its weights are not those that its
            record names.
        MissingDependencyError: If ``safetensors`` is missing and needed.
    """
    path = str(path)
    if path.endswith(SAFETENSORS):
        checkpoint = _read_safetensors(path, map_location)
    else:
        checkpoint = torch.load(path, map_location=map_location, weights_only=False)
    if not isinstance(checkpoint, dict):
        raise ConfigError(f'{path} holds no `state_dict` but a {type(checkpoint).__name__}.')
    meta = checkpoint.get('meta')
    record = meta.get(RECORD) if isinstance(meta, dict) else None
    wanted = record.get('weights_sha256') if isinstance(record, dict) else None
    if wanted and weights_digest(checkpoint['state_dict']) != wanted:
        raise ConfigError(
            f'{path}: the weights are not those that the file was published with (SHA-256 '
            f'{wanted[:_HASH_DIGITS]}... expected). It was damaged or changed; get it again.'
        )
    return checkpoint


def _read_safetensors(path: str, map_location: Any) -> dict[str, Any]:
    library = _safetensors(f'reading {path}')
    device = torch.device('cpu' if map_location is None else map_location)
    weights = library.load_file(path, device=str(device))
    text = safetensors_header(path).get('__metadata__', {}).get('meta', '{}')
    return dict(state_dict=weights, meta=json.loads(text))


def safetensors_header(path: str | Path) -> dict[str, Any]:
    """The header of a ``.safetensors`` file: tensors by name, and ``__metadata__``.

    Raises:
        ValueError: If the file is none, or was cut short.
    """
    with open(path, 'rb') as file:
        length = int.from_bytes(file.read(8), 'little')
        size = os.fstat(file.fileno()).st_size
        if not 2 <= length <= size - 8:
            raise ValueError('its header is incomplete')
        header: dict[str, Any] = json.loads(file.read(length))
    ends = [v['data_offsets'][1] for k, v in header.items() if k != '__metadata__']
    if 8 + length + max(ends, default=0) != size:
        raise ValueError('its tensors are incomplete')
    return header


# The prefixes of mmengine's loader are patterns, so that every tool reads both formats; it
# prints the end of the function's name.
@CheckpointLoader.register_scheme(prefixes=r'(?!\w+://).*\.safetensors$', force=True)
def load_from_safetensors(filename: str, map_location: Any = None) -> dict[str, Any]:
    """:func:`read_checkpoint` in the form of mmengine's loaders."""
    return read_checkpoint(filename, map_location)


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
    if path.endswith(SAFETENSORS):
        try:
            safetensors_header(path)
        except ValueError as error:
            raise ConfigError(
                f'{where}: this checkpoint cannot be read ({size} bytes): {error}. Copy or '
                'download it again.'
            ) from error
        return
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
        if name.endswith(('.pth', '.pt', SAFETENSORS)) and os.path.join(folder, name) != path
    )
    return f'In {folder} there are: {", ".join(found)}.' if found else f'{folder} holds none.'
