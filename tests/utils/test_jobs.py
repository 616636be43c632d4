import os

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
