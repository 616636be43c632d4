"""The shell library behind quickstart.sh and run_tests.sh, with stand-ins for Python and pip."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Answers what the library asks an environment's Python; `pip wheel` does as $PIP_WHEEL says.
FAKE_PYTHON = """#!/usr/bin/env bash
case "$*" in
*'pip wheel'*)
    while [ "$1" != --wheel-dir ]; do shift; done
    echo "[3/9] c++ deform_conv.cpp"
    echo half > "$2/onedl_mmcv-2.3.6-cp311-cp311-linux_x86_64.whl"
    [ "$PIP_WHEEL" = works ] || { echo 'c1plus: out of memory'; exit 1; }
    ;;
*'import mmcv.ops'*) [ -e "$STATE/ops" ] ;;
*'--no-deps'*.whl) touch "$STATE/ops" ;;
*version_info*) echo 2.13.0-cp311 ;;
esac
"""


def script(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def run(code, **environ):
    return subprocess.run(
        ['bash', '-c', f'set -euo pipefail; . {ROOT}/tools/setup_env.sh; {code}'],
        capture_output=True,
        text=True,
        env={**os.environ, **environ},
    )


@pytest.fixture
def environ(tmp_path):
    script(tmp_path / 'venv' / 'bin' / 'python', FAKE_PYTHON)
    (tmp_path / 'state').mkdir()
    return dict(
        MMDENSE_VENV=str(tmp_path / 'venv'),
        MMDENSE_CACHE=str(tmp_path / 'cache'),
        STATE=str(tmp_path / 'state'),
        PIP_WHEEL='works',
    )


def wheels(tmp_path):
    return [str(path.relative_to(tmp_path / 'cache')) for path in tmp_path.rglob('cache/**/*.whl')]


def test_ops_are_built_once_and_kept_by_torch_version(environ, tmp_path):
    done = run('mmd_install_ops', **environ)
    assert done.returncode == 0, done.stderr
    name = 'wheels/2.13.0-cp311/onedl_mmcv-2.3.6-cp311-cp311-linux_x86_64.whl'
    assert wheels(tmp_path) == [name]
    (tmp_path / 'state' / 'ops').unlink()
    done = run('mmd_install_ops', **{**environ, 'PIP_WHEEL': 'fails'})
    assert done.returncode == 0
    assert 'compiling' not in done.stdout


def test_failed_build_leaves_no_half_wheel(environ, tmp_path):
    done = run('mmd_install_ops || echo skipped', **{**environ, 'PIP_WHEEL': 'fails'})
    assert 'skipped' in done.stdout
    assert 'did not compile' in done.stdout
    assert 'out of memory' in done.stderr
    assert wheels(tmp_path) == []


def test_no_compiler_is_said_in_one_line(environ, tmp_path):
    (tmp_path / 'bin').mkdir()
    for tool in ('bash', 'env', 'sed', 'mkdir', 'cat', 'dirname'):
        (tmp_path / 'bin' / tool).symlink_to(
            subprocess.run(['which', tool], capture_output=True, text=True).stdout.strip()
        )
    environ['PATH'] = str(tmp_path / 'bin')
    environ.pop('CXX', None)
    done = run('mmd_install_ops || echo skipped', **environ)
    assert 'no C++ compiler' in done.stdout
    assert 'skipped' in done.stdout


def test_old_python_is_named_with_the_remedy(tmp_path):
    script(tmp_path / 'old', '#!/bin/sh\ncat >/dev/null\necho "is Python 3.8; needs 3.10"\n')
    done = run('mmd_find_python', PYTHON=str(tmp_path / 'old'))
    assert done.returncode == 1
    assert 'is Python 3.8' in done.stderr
    assert 'PYTHON=/path/to/python3' in done.stderr


def test_python_that_does_not_start_is_passed_over(tmp_path):
    # What a version manager leaves on PATH for a version that is not selected.
    script(tmp_path / 'bin' / 'python3', '#!/bin/sh\nexit 127\n')
    script(tmp_path / 'bin' / 'python3.13', '#!/bin/sh\ncat >/dev/null\n')
    path = f'{tmp_path / "bin"}:{os.environ["PATH"]}'
    done = run('mmd_find_python; echo "$MMD_BASE_PYTHON"', PATH=path, PYTHON='')
    assert done.stdout.strip() == str(tmp_path / 'bin' / 'python3.13')


def test_folder_that_is_no_environment_is_not_overwritten(tmp_path):
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'thesis.txt').touch()
    done = run('mmd_make_venv', MMDENSE_VENV=str(tmp_path / 'mine'))
    assert done.returncode == 1
    assert 'is no Python environment' in done.stderr
    assert (tmp_path / 'mine' / 'thesis.txt').exists()


def test_quickstart_refuses_what_is_no_option():
    command = ['bash', ROOT / 'tools/quickstart.sh', 'fast']
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "'fast' is no KEY=VALUE" in done.stderr
    done = subprocess.run([*command[:2], '--help'], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.startswith('From a fresh checkout')


def test_continuous_integration_runs_what_developers_run():
    assert 'tools/run_tests.sh' in (ROOT / '.ci' / 'run').read_text()
    assert os.access(ROOT / '.ci' / 'run', os.X_OK)
