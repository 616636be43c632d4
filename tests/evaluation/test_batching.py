"""The numbers do not depend on batch size, order or number of processes, to the last bit."""

import math
import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.registry import DefaultScope

sys.path.insert(0, str(Path(__file__).parent))
import metrics_worker

HERE = Path(__file__).parent


def bits(value):
    """A structure in which NaN equals NaN and floats are compared bit by bit."""
    if isinstance(value, dict):
        return {key: bits(item) for key, item in value.items()}
    return float(value).hex() if isinstance(value, float) else value


@pytest.fixture(scope='module')
def alone():
    # A fixture of the module runs before that of the test which sets the run of others aside.
    with DefaultScope.overwrite_default_scope('mmdense'):
        return metrics_worker.evaluate(1)


def test_batch_sizes_give_bit_equal_results(alone):
    results, report = alone
    assert bits(metrics_worker.evaluate(3)) == bits(alone)
    assert bits(metrics_worker.evaluate(7)) == bits(alone)
    assert report['resolution'] == {'24x32': 6, '24x20': 1}
    assert report['labelled'] == dict.fromkeys(metrics_worker.TASKS, 7) | dict(depth=6)
    # Every number is there and means something.
    assert len(results) > 60
    assert not [name for name, value in results.items() if math.isnan(value)]


@pytest.mark.slow
def test_two_processes_and_a_padded_sampler_give_bit_equal_results(alone, tmp_path):
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    env = dict(os.environ, MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port), WORLD_SIZE='2')
    env['PYTHONPATH'] = os.pathsep.join([str(HERE.parents[1]), env.get('PYTHONPATH', '')])
    command = [sys.executable, str(HERE / 'metrics_worker.py'), str(tmp_path / 'found')]
    workers = [
        subprocess.Popen(command, env=dict(env, RANK=str(rank), LOCAL_RANK=str(rank)))
        for rank in range(2)
    ]
    assert [worker.wait(timeout=300) for worker in workers] == [0, 0]
    expected = bits(dict(zip(('results', 'report'), alone)))
    for rank in range(2):
        with open(tmp_path / f'found.{rank}', 'rb') as file:
            found = pickle.load(file)
        assert sorted(found) == [1, 2, 4]
        for batch_size, pair in found.items():
            assert bits(dict(zip(('results', 'report'), pair))) == expected, (rank, batch_size)
