import pytest
import torch

from mmdense.structures import DenseDataSample, DenseFeatures
from mmdense.structures.ground_truth import collate_gt
from mmdense.tasks import build_tasks
from mmdense.utils import ShapeError


def test_align_corners_follows_the_parity_of_the_width():
    assert DenseFeatures(image_size=(480, 641)).align_corners
    assert not DenseFeatures(image_size=(481, 640)).align_corners
    assert not DenseFeatures().align_corners


def test_maps_for_prefers_the_tasks_own_map():
    shared, own = torch.zeros(1, 2, 4, 4), torch.ones(1, 3, 4, 4)
    feats = DenseFeatures(shared=(shared,), per_task=dict(depth=own))
    assert feats.maps_for('depth')[0] is own
    assert feats.maps_for('normal')[0] is shared
    with pytest.raises(ShapeError, match="task 'depth'"):
        DenseFeatures().maps_for('depth')


def test_replace_keeps_the_rest():
    feats = DenseFeatures(backbone=(torch.zeros(1),), image_size=(4, 4))
    changed = feats.replace(shared=(torch.ones(1),))
    assert changed.backbone is feats.backbone
    assert feats.shared == ()


def test_data_sample_reads_as_mmseg():
    tasks = build_tasks(dict(semseg=dict(type='SemSeg', num_classes=3), depth=dict(type='Depth')))
    sample = DenseDataSample()
    sample.set_gt(tasks['semseg'], torch.zeros(1, 4, 4, dtype=torch.long))
    assert sample.gt_sem_seg.data.shape == (1, 4, 4)
    assert sample.gt(tasks['depth']) is None


def test_missing_task_collates_to_unknown_pixels():
    tasks = build_tasks(dict(depth=dict(type='Depth'), normal=dict(type='Normal')))
    with_depth, without = DenseDataSample(), DenseDataSample()
    with_depth.set_gt(tasks['depth'], torch.full((1, 4, 6), 2.0))
    stacked = collate_gt(tasks, [with_depth, without], (4, 6), 'cpu')
    assert stacked['depth'].shape == (2, 1, 4, 6)
    assert stacked['normal'].shape == (2, 3, 4, 6)
    valid = tasks['depth'].valid_mask(stacked['depth'])
    assert valid[0].all()
    assert not valid[1].any()
    with pytest.raises(ShapeError, match=r'\(4, 6\) for an input of \(8, 6\)'):
        collate_gt(tasks, [with_depth], (8, 6), 'cpu')


def test_valid_positions_are_those_whose_centre_shows_the_picture():
    feats = DenseFeatures(image_size=(9, 12), padding=((4, 0, 0, 2), (0, 0, 0, 0)))
    valid = feats.valid_positions(torch.zeros(2, 7, 3, 6))
    assert valid.shape == (2, 1, 3, 6) and valid[1].all()
    # Columns of 2 pixels, rows of 3: the last row has its centre at 7.5, outside 0..7.
    assert valid[0, 0].int().tolist() == [[0, 0, 1, 1, 1, 1]] * 2 + [[0] * 6]
    assert feats.replace(padding=None).valid_positions(torch.zeros(2, 7, 3, 6)) is None
