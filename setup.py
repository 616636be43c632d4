"""Build step that setup.cfg cannot express: configs and tools travel with the package.

`mim` looks for them in `mmdense/.mim/`. A wheel holds copies; an editable installation holds
links, so that an edited config is the one that is used.
"""

import os
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
CARRIED = ('configs', 'tools', 'model-index.yml')


class BuildWithConfigs(build_py):
    """`build_py` that fills `mmdense/.mim/`."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            self.fill(ROOT / 'mmdense' / '.mim', link)
        else:
            self.fill(Path(self.build_lib) / 'mmdense' / '.mim', copy)

    def fill(self, folder: Path, place) -> None:
        # Rebuilt each time: a config deleted from the checkout must not stay behind.
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in CARRIED:
            place(ROOT / name, folder / name)


def copy(source: Path, target: Path) -> None:
    """Copy a file or a folder without compiled leftovers."""
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns('__pycache__', '*.pyc'))
    else:
        shutil.copy2(source, target)


def link(source: Path, target: Path) -> None:
    """Link relative to the target, so that the checkout can be moved."""
    target.symlink_to(os.path.relpath(source, target.parent))


setup(cmdclass={'build_py': BuildWithConfigs})
