"""Checksums of a data set: one line per file, and one number for all."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from mmdense.utils import DataError
from mmdense.utils.files import atomic_write_text

_LINE = re.compile(r'([0-9a-f]{64})  (.+)')


@dataclass(frozen=True)
class ManifestChanges:
    """How a folder differs from its manifest: ``missing``, ``changed`` and ``added`` files."""

    missing: tuple[str, ...]
    changed: tuple[str, ...]
    added: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.missing or self.changed or self.added)


def hash_files(
    root: str | Path, workers: int = 2, without: str | Path | None = None
) -> dict[str, str]:
    """Relative path to SHA-256 of every file below a folder, in sorted order.

    Hidden files are left out: they are temporary. So is ``without``, the manifest itself.

    Raises:
        DataError: If the folder has no files.
    """
    root = Path(root)
    own = None if without is None else Path(without).resolve()
    files = sorted(
        path
        for path in root.rglob('*')
        if path.is_file()
        and not any(part.startswith('.') for part in path.relative_to(root).parts)
        and path.resolve() != own
    )
    if not files:
        raise DataError(f"'{root}' has no files to make a checksum of.")

    # Hashing and reading leave the interpreter to other threads.
    with ThreadPoolExecutor(max(workers, 1)) as pool:
        digests = list(pool.map(_digest, files))
    return {path.relative_to(root).as_posix(): one for path, one in zip(files, digests)}


def _digest(path: Path) -> str:
    found = hashlib.sha256()
    with path.open('rb') as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()


def manifest_text(hashes: Mapping[str, str]) -> str:
    """A manifest, which ``sha256sum -c`` understands."""
    return ''.join(f'{digest}  {name}\n' for name, digest in sorted(hashes.items()))


def data_checksum(hashes: Mapping[str, str]) -> str:
    """One checksum of a whole folder: SHA-256 of its manifest.

    Example:
        >>> data_checksum({'a.png': '00' * 32})[:12]
        '215d311509f1'
    """
    return hashlib.sha256(manifest_text(hashes).encode()).hexdigest()


def write_manifest(path: str | Path, hashes: Mapping[str, str]) -> None:
    """Write a manifest; the file is either whole or not there."""
    atomic_write_text(path, manifest_text(hashes))


def read_manifest(path: str | Path) -> dict[str, str]:
    """Relative path to SHA-256.

    Raises:
        DataError: If the file is missing or no manifest.
    """
    try:
        lines = Path(path).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f'{path}: cannot be read as a manifest ({error}).') from error
    found = {}
    for number, line in enumerate(lines, 1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise DataError(
                f"{path}: line {number} is '{line[:80]}', expected a SHA-256, two blanks and a "
                'relative path. Write it with `check.py DATASET --write FILE`.'
            )
        found[match[2]] = match[1]
    return found


def compare(hashes: Mapping[str, str], manifest: Mapping[str, str]) -> ManifestChanges:
    """How the files of a folder differ from a manifest of it."""
    return ManifestChanges(
        missing=tuple(sorted(manifest.keys() - hashes.keys())),
        changed=tuple(
            sorted(
                name for name in manifest.keys() & hashes.keys() if manifest[name] != hashes[name]
            )
        ),
        added=tuple(sorted(hashes.keys() - manifest.keys())),
    )
