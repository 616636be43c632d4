"""Files that are either whole or not there."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.fileio import LocalBackend, register_backend


def atomic_write_bytes(path: str | Path, data: bytes) -> None:
    """Write a file under a temporary name beside its place, then move it there.

    A reader, or a run that is killed half-way, never sees a partial file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.')
    try:
        with os.fdopen(handle, 'wb') as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files private; give the mode that open() would have given.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def atomic_write_text(path: str | Path, text: str) -> None:
    """:func:`atomic_write_bytes` for text in UTF-8."""
    atomic_write_bytes(path, text.encode())


def atomic_write_json(path: str | Path, content: Any) -> None:
    """:func:`atomic_write_bytes` for JSON; what :func:`plain` makes of ``content``."""
    atomic_write_text(path, json.dumps(plain(content), indent=2) + '\n')


def plain(value: Any) -> Any:
    """Numbers that JSON knows; NaN and infinity become null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (str, bool)) or value is None:
        return value
    if isinstance(value, int):
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    return number if math.isfinite(number) else None


class AtomicLocalBackend(LocalBackend):
    """mmengine's local storage with atomic writes; ``backend_args=dict(backend='atomic')``."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        atomic_write_bytes(filepath, obj)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        atomic_write_bytes(filepath, obj.encode(encoding))


register_backend('atomic', AtomicLocalBackend, force=True)
