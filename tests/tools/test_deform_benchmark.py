import importlib.util
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / 'tools' / 'analysis_tools' / 'deform_benchmark.py'


@pytest.fixture(scope='module')
def benchmark():
    spec = importlib.util.spec_from_file_location('deform_benchmark', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize('kernel', ['1', '3'])
def test_forms_are_timed_and_agree(benchmark, kernel, capsys):
    command = ['--size', '6', '7', '--channels', '4', '--repeats', '1', '--kernel', kernel]
    assert benchmark.main([*command, '--no-memory', '--offset-groups', '2']) == 0
    rows = [line.split('|') for line in capsys.readouterr().out.splitlines() if '|' in line]
    found = {row[1].strip(): float(row[-2]) for row in rows[1:]}
    assert {'torch', 'per group', 'summed', 'gather'} <= set(found)
    # Slopes at whole pixels apart, which none of these offsets leads to.
    assert max(found.values()) < 1e-4


def test_memory_is_that_of_one_form(benchmark, capsys):
    command = ['--size', '64', '80', '--channels', '64', '--train', '--peak-of']
    peaks = {}
    for form in ('torch', 'summed'):
        benchmark.main([*command, form])
        peaks[form] = float(capsys.readouterr().out.split()[-1])
    assert all(peak >= 0 for peak in peaks.values())
