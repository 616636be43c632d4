import os
import time

import pytest

from mmdense.evaluation.ordered_pool import OrderedPool, cores_per_process
from mmdense.utils import DataError


def square(value, pause=0.0):
    time.sleep(pause)
    if value == 13:
        raise ValueError('thirteen')
    if value == 666:
        os._exit(9)
    return value * value


def collect(pool, values):
    found = []
    for index, value in enumerate(values):
        if value is None:
            found += pool.skip(None)
        else:
            found += pool.submit(f'{index}.png', value, 0.02 * (index % 3 == 0))
        assert len(pool._waiting) <= 2 * pool.workers
    return found + list(pool.finish())


@pytest.mark.parametrize('workers', [0, 2])
def test_results_come_in_the_order_of_the_pictures(workers):
    values = [5, None, 1, 2, None, 9, 4, 3, 8, 7]
    pool = OrderedPool(square, workers, 'Test')
    expected = [None if value is None else value * value for value in values]
    assert collect(pool, values) == expected
    assert collect(pool, values) == expected


def test_a_small_picture_is_done_at_once():
    pool = OrderedPool(square, 2, 'Test')
    assert list(pool.submit('a.png', 3, at_once=True)) == [9]
    assert pool._pool is None


@pytest.mark.parametrize('workers', [0, 1])
def test_an_error_names_the_picture(workers):
    pool = OrderedPool(square, workers, 'BoundaryMetric')
    with pytest.raises(DataError, match=r"BoundaryMetric: picture '1.png'.*ValueError: thirteen"):
        collect(pool, [2, 13, 4])
    assert pool._pool is None


def test_a_worker_that_is_killed_is_an_error_not_a_wait():
    with pytest.raises(RuntimeError, match=r'ended from outside.*fewer `workers` than 1'):
        collect(OrderedPool(square, 1, 'Test'), [2, 666, 4, 5, 6])


def test_cores_are_shared_between_the_processes_of_a_machine(monkeypatch):
    alone = cores_per_process()
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '2')
    assert cores_per_process() == max(1, alone // 2)
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '1000')
    assert cores_per_process() == 1
