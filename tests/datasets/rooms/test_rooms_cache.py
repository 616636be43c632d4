import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

from mmdense.datasets.rooms import cache as cache_module
from mmdense.datasets.rooms import render_room
from mmdense.datasets.rooms.cache import RoomCache

ASK = (0, 'train', 2, (48, 64))


def same(a, b):
    pairs = [(getattr(a, k), getattr(b, k)) for k in ('image', 'depth', 'instances', 'albedo')]
    pairs += [(a.intrinsics, b.intrinsics), (a.pose, b.pose)]
    assert list(a.gt) == list(b.gt)
    pairs += [(a.gt[k], b.gt[k]) for k in a.gt]
    return all(
        x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes() for x, y in pairs
    )


@pytest.fixture
def count_renders(monkeypatch):
    calls = []

    def counted(*args):
        calls.append(args)
        return render_room(*args)

    monkeypatch.setattr(cache_module, 'render_room', counted)
    return calls


def test_what_is_read_equals_what_was_rendered_bit_for_bit(tmp_path, count_renders):
    for index, view in ((0, 0), (0, 1), (5, 0), (6, 0)):
        first = RoomCache(str(tmp_path)).get(0, 'train', index, (48, 64), view)
        again = RoomCache(str(tmp_path)).get(0, 'train', index, (48, 64), view)
        assert same(first, again)
        assert same(render_room(0, 'train', index, (48, 64), view), again)
    assert len(count_renders) == 4


def test_arrays_from_the_cache_may_be_changed(tmp_path):
    cache = RoomCache(str(tmp_path))
    cache.get(*ASK)
    sample = cache.get(*ASK)
    for array in (sample.image, sample.depth, sample.instances, sample.pose, *sample.gt.values()):
        array[:] = 0
    assert same(cache.get(*ASK), render_room(*ASK))


@pytest.mark.parametrize('damage', ['empty', 'cut', 'flip', 'foreign'])
def test_damaged_files_are_rendered_anew(tmp_path, count_renders, damage):
    cache = RoomCache(str(tmp_path))
    cache.get(*ASK)
    path = cache.path(*ASK, 0)
    data = path.read_bytes()
    if damage == 'foreign':
        cache.get(0, 'train', 3, (48, 64))
        path.write_bytes(cache.path(0, 'train', 3, (48, 64), 0).read_bytes())
    elif damage == 'flip':
        middle = len(data) // 2
        path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    else:
        path.write_bytes(b'' if damage == 'empty' else data[: len(data) // 2])
    count_renders.clear()
    assert same(cache.get(*ASK), render_room(*ASK))
    assert path.read_bytes() == data
    assert len(count_renders) == 1
    cache.get(*ASK)
    assert len(count_renders) == 1


def test_files_differ_by_everything_that_changes_a_picture(tmp_path, monkeypatch):
    cache = RoomCache(str(tmp_path))
    asks = [
        (0, 'train', 2, (48, 64), 0),
        (1, 'train', 2, (48, 64), 0),
        (0, 'val', 2, (48, 64), 0),
        (0, 'train', 3, (48, 64), 0),
        (0, 'train', 2, (64, 48), 0),
        (0, 'train', 2, (48, 64), 1),
    ]
    paths = {cache.path(*ask) for ask in asks}
    monkeypatch.setattr(cache_module, 'renderer_digest', lambda: 'another')
    paths.add(cache.path(*asks[0]))
    assert len(paths) == len(asks) + 1


def _read_all(folder):
    cache = RoomCache(folder)
    return [cache.get(0, 'train', i, (32, 40)).image.tobytes() for i in range(6)]


def test_concurrent_writers_agree_and_leave_nothing_behind(tmp_path):
    context = multiprocessing.get_context('fork')
    with ProcessPoolExecutor(4, mp_context=context) as pool:
        results = list(pool.map(_read_all, [str(tmp_path)] * 4))
    assert all(r == results[0] for r in results)
    files = [p for p in tmp_path.rglob('*') if p.is_file()]
    assert len(files) == 6
    assert all(p.suffix == '.room' for p in files)


def test_unwritable_folder_costs_the_cache_and_nothing_else(tmp_path):
    blocked = tmp_path / 'file'
    blocked.write_text('')
    sample = RoomCache(str(blocked / 'below')).get(*ASK)
    np.testing.assert_array_equal(sample.image, render_room(*ASK).image)
