import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdense.datasets.reading import read_unit_image
from mmdense.utils import DataError


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_every_eight_bit_value_survives_the_division(tmp_path, dtype):
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    picture = np.stack([values, values.T, values[::-1]], axis=-1)
    for unit in (picture / dtype(255), picture.astype(dtype) * dtype(1 / 255)):
        np.save(tmp_path / 'a.npy', unit.astype(dtype))
        assert np.array_equal(read_unit_image(str(tmp_path / 'a.npy')), picture)


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 1))
def test_other_values_go_to_the_nearest_level(tmp_path_factory, value):
    path = tmp_path_factory.mktemp('unit') / 'a.npy'
    np.save(path, np.full((1, 1, 3), value))
    assert abs(int(read_unit_image(str(path))[0, 0, 0]) - 255 * value) <= 0.5


@pytest.mark.parametrize(
    'array',
    [
        np.full((2, 2, 3), 200.0),
        np.full((2, 2, 3), -1.0),
        np.zeros((2, 2)),
        np.zeros((2, 2, 3), np.int64),
        np.full((2, 2, 3), np.nan),
    ],
)
def test_pictures_in_other_forms_are_refused(tmp_path, array):
    np.save(tmp_path / 'a.npy', array)
    with pytest.raises(DataError, match=r'a.npy: .*expected.*\[0, 1\]|a.npy.*expected floats'):
        read_unit_image(str(tmp_path / 'a.npy'))


def test_the_published_mask_drops_normals_whose_components_cancel(make_tree, save):
    tree = make_tree('nyuv2')
    normal = np.zeros((12, 16, 3), np.float32)
    normal[0, 0] = 0.6, -0.8, 0
    normal[0, 1] = np.sqrt(0.5), -np.sqrt(0.5), 0  # sum 0 but a unit vector
    save(tree.files['normal'], normal)
    by_norm = tree.build(['normal'])[0]['gt']['normal']
    by_sum = tree.build(['normal'], valid_rule='sum')[0]['gt']['normal']
    assert (by_norm != 0).any(-1).sum() == 2
    assert (by_sum != 0).any(-1).sum() == 1 and (by_sum[0, 1] == 0).all()
    with pytest.raises(ValueError, match=r"valid_rule` is 'max'; choose 'norm' or 'sum'"):
        tree.build(valid_rule='max')


def test_axes_of_the_stored_normals(make_tree):
    tree = make_tree('nyuv2')
    turned = tree.build(['normal'], normal_axes='x-right y-down z-front')[0]['gt']['normal']
    assert np.allclose(turned, tree.truth['0']['normal'] * [1, -1, -1], atol=1e-6)


def test_a_split_that_is_not_there(make_tree):
    with pytest.raises(DataError, match=r"split 'test' has no pictures 0.npy.*train.*val"):
        make_tree('nyuv2').build(split='test')
