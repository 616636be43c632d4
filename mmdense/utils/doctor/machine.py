"""What the checks ask a machine, and what they answer."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

OK, OPTIONAL, WARNING, PROBLEM = 'ok', 'optional', 'warning', 'PROBLEM'
ROOT = Path(__file__).resolve().parents[3]
# Bounds of these are no business of a user's environment: torch is the user's own build.
_NOT_COMPARED = ('torch', 'tests', 'docs')


@dataclass(frozen=True)
class Finding:
    """One row of the table.

    Args:
        part (str): What was looked at.
        state (str): ``OK``, ``OPTIONAL`` (absent and not needed), ``WARNING`` or
            ``PROBLEM`` (mmdense cannot be used).
        detail (str): What was found.
        mend (str): The command, or action, that mends it; '' if there is nothing to mend.
    """

    part: str
    state: str
    detail: str
    mend: str = ''


class Machine(Protocol):
    """What the checks ask; tests answer with made-up machines."""

    def version(self, distribution: str) -> str | None:
        """Version of an installed distribution, or None."""

    def run(self, code: str) -> tuple[bool, str]:
        """Run Python code in a fresh process: whether it worked, and its last line."""

    def requirements(self) -> Sequence[str]:
        """Requirement lines with the tested bounds."""

    def writable(self, path: str) -> bool:
        """Whether files can be made in a folder, or the folder itself be made."""

    def command(self, name: str) -> bool:
        """Whether a command is on PATH."""

    def size(self, path: str) -> int | None:
        """Bytes that the file system of a folder holds in all, or None if it is not there."""


class ThisMachine:
    """The machine and interpreter that the doctor runs on."""

    def version(self, distribution: str) -> str | None:
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            return None

    def run(self, code: str) -> tuple[bool, str]:
        environ = dict(os.environ)
        environ['PYTHONPATH'] = os.pathsep.join(
            item for item in (str(ROOT), environ.get('PYTHONPATH', '')) if item
        )
        try:
            done = subprocess.run(
                [sys.executable, '-W', 'ignore', '-c', code],
                capture_output=True,
                text=True,
                timeout=300,
                env=environ,
            )
        except subprocess.TimeoutExpired:
            return False, 'no answer within 300 s'
        if done.returncode < 0:
            return False, f'the interpreter was killed by signal {-done.returncode}'
        text = (done.stdout if done.returncode == 0 else done.stderr).strip()
        return done.returncode == 0, text.splitlines()[-1] if text else ''

    def requirements(self) -> Sequence[str]:
        folder = ROOT / 'requirements'
        if folder.is_dir():
            lines = [
                line.split('#')[0].strip()
                for path in sorted(folder.glob('*.txt'))
                if path.stem not in _NOT_COMPARED
                for line in path.read_text().splitlines()
            ]
            return [line for line in lines if line]
        try:
            return importlib.metadata.requires('mmdense') or []
        except importlib.metadata.PackageNotFoundError:
            return []

    def writable(self, path: str) -> bool:
        folder = Path(path)
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        return folder.is_dir() and os.access(folder, os.W_OK)

    def command(self, name: str) -> bool:
        return shutil.which(name) is not None

    def size(self, path: str) -> int | None:
        return shutil.disk_usage(path).total if os.path.isdir(path) else None


def numbers(version: str) -> tuple[int, int]:
    """Major and minor number of a version, (0, 0) if it has none."""
    found = re.match(r'(\d+)\.(\d+)', version)
    return (int(found.group(1)), int(found.group(2))) if found else (0, 0)


def bounded(machine: Machine, distribution: str) -> str:
    """A distribution with its tested bounds, quoted for the shell; bare if there are none."""
    for line in machine.requirements():
        name, rest = re.match(r'([\w.-]*)(.*)', line.split(';')[0]).groups()  # type: ignore[union-attr]
        if name == distribution and rest.strip():
            return f"'{name}{rest.strip()}'"
    return distribution
