import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'configs/baselines/mtl_r18-thin_1xb8-600_rooms-96x128.py'


def load(name):
    path = ROOT / 'tools' / 'analysis_tools' / f'{name}.py'
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_every_kind_of_method_is_measured(capsys):
    pytest.importorskip('torchjd')
    command = [str(CONFIG), '--shape', '32', '32', '--steps', '3', '--no-memory', '--json']
    names = ['FixedWeights', 'UncertaintyWeights', 'Constant', 'CRMOGM', 'UPGrad']
    assert load('balancer_benchmark').main([*command, '--methods', *names]) == 0
    found = {row['name']: row for row in json.loads(capsys.readouterr().out)['rows']}
    assert list(found) == names
    assert all(row['milliseconds'] > 0 and not row['note'] for row in found.values())
    assert [row['kind'] for row in found.values()] == ['balancer'] * 2 + ['aggregator'] * 3


@pytest.mark.slow
def test_lean_task_part_of_mtcp_needs_a_part_of_the_direct_forms_memory():
    tool = ROOT / 'tools' / 'analysis_tools' / 'mtcp_memory.py'
    command = [sys.executable, str(tool), '--grid', '48', '64', '--channels', '32', '--json']
    env = dict(os.environ, PYTHONPATH=str(ROOT))
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    direct, lean = json.loads(done.stdout)['rows']
    assert (direct['form'], lean['form']) == ('direct', 'lean')
    assert lean['share'] == lean['peak_mib'] / direct['peak_mib'] < 0.45
