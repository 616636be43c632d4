"""Projects against the package as it is installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = 'tools/misc/test_projects_installed.sh'


def test_ci_runs_it():
    assert f'bash {SCRIPT}' in (ROOT / '.github/workflows/ci.yml').read_text()
    assert os.access(ROOT / SCRIPT, os.X_OK)


@pytest.mark.slow
def test_projects_meet_the_wheel_and_not_the_checkout(tmp_path):
    """With the pages alone: what the script itself does is in question."""
    done = subprocess.run(
        ['bash', ROOT / SCRIPT, '-q', '-k', 'page'],
        cwd=tmp_path,
        # The checkout on the path, as in every test run: the script must not meet it.
        env={**os.environ, 'PYTHON': sys.executable, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert 'from its wheel' in done.stdout and ' passed' in done.stdout
    assert not list(tmp_path.iterdir())
