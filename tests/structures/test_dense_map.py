import numpy as np
import pytest

from mmdense.registry import TASKS
from mmdense.structures import DenseMap
from mmdense.utils import ShapeError

KINDS = dict(
    SemSeg=('labels', 'class'),
    Part=('labels', 'class'),
    Depth=('depth', 'm'),
    BinnedDepth=('depth', 'm'),
    Normal=('direction', 'unit vector'),
    CentroidNormal=('direction', 'unit vector'),
    Boundary=('probability', 'probability'),
    Saliency=('probability', 'probability'),
    EdgeTexture=('values', ''),
    EdgeOcclusion=('values', ''),
    Keypoints2D=('values', ''),
    Keypoints3D=('values', ''),
    Reshading=('values', ''),
    PrincipalCurvature=('values', ''),
)


def test_every_registered_task_says_what_its_map_is():
    for name in TASKS.module_dict:
        if not TASKS.get(name).__module__.startswith('mmdense.'):
            continue  # of another test
        task = TASKS.build(dict(type=name, **(dict(num_classes=3) if name == 'SemSeg' else {})))
        item = DenseMap.of(task, task.empty((2, 3)))
        assert (item.kind, item.unit) == KINDS[name]
        assert not item.valid.any()
        assert item.size == (2, 3)
        assert len(item.convention) > 10
        assert (item.classes is None) == (item.kind != 'labels') == (item.palette is None)


@pytest.mark.parametrize(('kind', 'unit'), [('disparity_px', 'px'), ('inverse_norm', '')])
def test_depth_that_is_not_metric_has_another_unit(kind, unit):
    task = TASKS.build(dict(type='Depth', kind=kind, min_depth=0, max_depth=1, initial_depth=0.5))
    item = DenseMap.of(task, np.full((2, 2), 0.5, np.float32))
    assert item.unit == unit
    assert 'optical axis' not in item.convention
    assert item.valid.all()


def test_depth_that_ran_into_an_end_of_the_range_is_not_valid():
    task = TASKS.build(dict(type='Depth', min_depth=1.0, max_depth=8.0))
    value = np.array([[1.0, 3.0, 8.0]], np.float32)
    assert DenseMap.of(task, value).valid.tolist() == [[False, True, False]]


def test_map_and_mask_of_different_sizes_are_refused():
    with pytest.raises(ShapeError, match=r"'depth': the map is \(2, 3\), its valid mask \(3, 2\)"):
        DenseMap('depth', np.zeros((2, 3)), 'm', 'depth', np.ones((3, 2), bool), '')
