import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmdense.utils.jobs import run_jobs


def square(shared, job):
    if job == shared.get('fails'):
        raise ValueError(f'job {job}')
    return job * job, os.getpid()


@pytest.mark.parametrize('workers', [0, 2])
def test_every_job_is_done_once(workers):
    results = list(run_jobs(square, {}, list(range(9)), workers))
    assert sorted(value for value, _ in results) == [i * i for i in range(9)]
    here = {process == os.getpid() for _, process in results}
    assert here == {workers == 0}


@pytest.mark.parametrize('workers', [0, 2])
def test_the_first_error_stops_the_rest(workers):
    with pytest.raises(ValueError, match='job 4'):
        list(run_jobs(square, dict(fails=4), list(range(1000)), workers))


def test_the_bar_counts_sizes(capsys):
    list(run_jobs(square, {}, [1, 2, 3], show=True, size=lambda job: job))
    assert '6/6' in capsys.readouterr().err


KILLED = """
import os, sys, time
from mmdense.utils.jobs import run_jobs

def work(folder, job):
    open(f'{folder}/{os.getpid()}', 'w').close()
    time.sleep(0.05)

if __name__ == '__main__':
    for _ in run_jobs(work, sys.argv[1], list(range(10**6)), 3):
        pass
"""


def alive(process):
    """Whether a process is there and no zombie."""
    try:
        return Path(f'/proc/{process}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except FileNotFoundError:
        return False


def wait_until(true, seconds=20):
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    return true()


@pytest.mark.skipif(not Path('/proc/self/stat').exists(), reason='reads the process table')
def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    script = tmp_path / 'main.py'
    script.write_text(KILLED)
    started = tmp_path / 'started'
    started.mkdir()
    parent = subprocess.Popen([sys.executable, str(script), str(started)])
    try:
        assert wait_until(lambda: len(list(started.iterdir())) == 3, 60)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    workers = [int(path.name) for path in started.iterdir()]
    assert wait_until(lambda: not any(map(alive, workers)))
