import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmdense.datasets.reading import axis_signs, decode_normals
from mmdense.datasets.writers.base import class_ids
from mmdense.datasets.writers.encode import (
    encode_normals,
    is_whole,
    jpg_bytes,
    mat_bytes,
    npy_bytes,
    png_bytes,
)
from mmdense.utils import DataError

PICTURE = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ('name', 'data'),
    [
        ('a.png', png_bytes(PICTURE)),
        ('a.jpg', jpg_bytes(PICTURE)),
        ('a.npy', npy_bytes(PICTURE / 255)),
    ],
)
def test_a_file_cut_anywhere_is_not_whole(tmp_path, name, data):
    path = tmp_path / name
    assert not is_whole(path)
    path.write_bytes(data)
    assert is_whole(path)
    for length in (0, 5, 20, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        assert not is_whole(path), length


def test_a_longer_npy_is_not_whole(tmp_path):
    path = tmp_path / 'a.npy'
    path.write_bytes(npy_bytes(PICTURE) + b'x')
    assert not is_whole(path)


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=3), st.sampled_from(['up', 'down']))
def test_normals_survive_eight_bits_to_half_a_degree(vector, y):
    normal = np.array(vector)
    if np.linalg.norm(normal) < 0.1:
        return
    normal = (normal / np.linalg.norm(normal)).astype(np.float32)[None, None]
    axes = f'x-right y-{y} z-back'
    stored = encode_normals(normal, axis_signs(axes))
    read = decode_normals(stored, axes)
    angle = np.degrees(np.arctan2(np.linalg.norm(np.cross(normal, read)), (normal * read).sum()))
    # Half a step of 2 / 255 in each component.
    assert angle <= np.degrees(np.sqrt(3) / 255) + 1e-3


def test_unknown_normals_become_mid_grey():
    stored = encode_normals(np.zeros((1, 1, 3), np.float32), axis_signs('x-right y-up z-back'))
    assert stored.tolist() == [[[128, 128, 128]]]


def test_equal_variables_give_equal_mat_files(monkeypatch):
    first = mat_bytes(dict(LabelMap=np.arange(6).reshape(2, 3)))
    monkeypatch.setattr('time.asctime', lambda *_: 'another day')
    assert mat_bytes(dict(LabelMap=np.arange(6).reshape(2, 3))) == first
    assert b'day' not in first[:116]


def test_class_ids_map_and_refuse():
    labels = np.array([[0, 1, 255]], np.uint8)
    assert class_ids(labels, (7, 8), 0, 'X').tolist() == [[7, 8, 0]]
    assert class_ids(labels, range(2), -1, 'X').tolist() == [[0, 1, -1]]
    with pytest.raises(DataError, match=r'X has the classes 0\.\.1 .* labels \[2\] were given'):
        class_ids(np.array([[2]], np.uint8), (7, 8), 0, 'X')
