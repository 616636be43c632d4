import numpy as np
import pytest
from pictures import room_and_prediction

from mmdense.evaluation.boundary import BoundaryProtocol, cached, count_matches, true_boundaries
from mmdense.evaluation.boundary.cached import count_picture

PROTOCOL = BoundaryProtocol(thresholds=(0.2, 0.5))


@pytest.fixture
def picture():
    edges, levels = room_and_prediction(0, (40, 50))
    return levels, edges, None, PROTOCOL


@pytest.fixture
def counted(monkeypatch):
    """How often something was counted rather than read."""
    calls = []

    def count(*args):
        calls.append(args)
        return count_matches(*args)

    monkeypatch.setattr(cached, 'count_matches', count)
    return calls


def test_second_time_reads_the_file(picture, counted, tmp_path):
    folder = str(tmp_path / 'new')
    first, second = count_picture(*picture, folder), count_picture(*picture, folder)
    assert len(counted) == 1
    np.testing.assert_array_equal(first.counts, second.counts)
    levels, edges, _, protocol = picture
    np.testing.assert_array_equal(
        second.counts, count_matches(levels, true_boundaries(edges), protocol)
    )
    assert first.trouble is second.trouble is None


def test_any_other_picture_or_protocol_has_a_file_of_its_own(picture, tmp_path):
    levels, edges, _, protocol = picture
    other_levels, other_edges = levels.copy(), edges.copy()
    other_levels[20, 20] ^= 1
    other_edges[20, 20] ^= 1
    half = np.ones(edges.shape, bool)
    half[20:] = False
    jobs = [
        picture,
        (other_levels, edges, None, protocol),
        (levels, other_edges, None, protocol),
        (levels, edges, half, protocol),
        (levels, edges, None, BoundaryProtocol(0.0075, True, protocol.thresholds)),
        (levels, edges, None, BoundaryProtocol(0.011, False, protocol.thresholds)),
        (levels, edges, None, BoundaryProtocol(thresholds=(0.2, 0.4))),
        (levels.reshape(50, 40), edges.reshape(50, 40), None, protocol),
    ]
    for job in jobs:
        count_picture(*job, str(tmp_path))
    assert len(list(tmp_path.iterdir())) == len(jobs)


@pytest.mark.parametrize(
    'damage', [lambda data: data[:-3], lambda data: data[:40] + b'\x07' + data[41:], lambda _: b'']
)
def test_damaged_file_is_counted_anew(picture, counted, tmp_path, damage):
    first = count_picture(*picture, str(tmp_path))
    (file,) = tmp_path.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    second = count_picture(*picture, str(tmp_path))
    assert len(counted) == 2
    np.testing.assert_array_equal(first.counts, second.counts)
    assert 'damaged' in second.trouble
    assert count_picture(*picture, str(tmp_path)).trouble is None
    assert len(counted) == 2


def test_folder_that_cannot_be_written_costs_a_remark(picture, tmp_path):
    (tmp_path / 'file').touch()
    found = count_picture(*picture, str(tmp_path / 'file' / 'cache'))
    assert 'cache' in found.trouble
    assert found.counts.shape == (2, 4)
