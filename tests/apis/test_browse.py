import cv2
import numpy as np
import pytest
from mmengine.config import Config

from mmdense.apis.browse import _Source, browse_dataset
from mmdense.datasets import RoomsDataset
from mmdense.registry import DATASETS
from mmdense.utils import DataError
from mmdense.utils.config_check import ConfigError

TASKS = dict(
    semseg=dict(type='SemSeg', num_classes=13), depth=dict(type='Depth'), normal=dict(type='Normal')
)
FLIP = [dict(type='TaskAwareFlip', prob=1.0), dict(type='PackDenseInputs')]


def config(**changes):
    dataset = dict(
        type='RoomsDataset', split='train', length=4, size=(24, 32), tasks=TASKS, pipeline=FLIP
    )
    dataset.update(changes)
    loader = dict(batch_size=1, dataset=dataset)
    return Config(dict(default_scope='mmdense', train_dataloader=loader))


def test_what_is_shown_is_what_was_read_and_what_the_pipeline_gives():
    source = _Source(config(), 'train')
    name, (read, changed) = source.stages(2, 'concat', 1, 0)
    plain = DATASETS.build({**config().train_dataloader.dataset, 'pipeline': []})[2]
    assert name == plain['sample_id']
    assert np.array_equal(read.image, plain['img'])
    assert np.array_equal(changed.image, plain['img'][:, ::-1])
    assert np.array_equal(changed.gt['depth'], plain['gt']['depth'][:, ::-1])
    assert np.array_equal(changed.gt['normal'][..., 0], -plain['gt']['normal'][:, ::-1, 0])
    assert changed.gt['semseg'].dtype == np.uint8
    assert [stage.title for stage in (read, changed)] == ['as read, 24x32', 'transformed, 24x32']


def test_modes_choose_the_rows():
    source = _Source(config(), 'train')

    def titles(mode, draws=1):
        return [stage.title.split(',')[0] for stage in source.stages(0, mode, draws, 0)[1]]

    assert titles('original') == ['as read']
    assert titles('transformed') == ['transformed']
    assert titles('concat', 2) == ['as read', 'transformed (1)', 'transformed (2)']
    assert titles('pipeline') == ['as read', 'TaskAwareFlip', 'PackDenseInputs']


def test_draws_differ_and_repeat_by_the_seed():
    steps = [dict(type='TaskAwareFlip', prob=0.5), dict(type='PackDenseInputs')]
    source = _Source(config(pipeline=steps), 'train')

    def draw(seed):
        stages = source.stages(1, 'transformed', 12, seed)[1]
        return [np.array_equal(stage.image, stages[0].image) for stage in stages]

    assert len(set(draw(0))) == 2
    assert draw(0) == draw(0)
    assert draw(1) != draw(0)


def test_pictures_and_histograms_are_written(tmp_path):
    found = browse_dataset(config(length=2), tmp_path, number=2, histograms=2)
    assert len(found.pictures) == 2 and all(path.parent == tmp_path for path in found.pictures)
    assert cv2.imread(str(found.pictures[0])).shape[0] > 2 * 144
    assert cv2.imread(str(found.histograms)) is not None
    read, changed = found.statistics['normal']
    assert read.pictures == changed.pictures == 2
    # Every picture is mirrored: x changes its sign, the rest stays.
    assert changed.mean == pytest.approx(read.mean * [-1, 1, 1], abs=1e-6)
    assert np.array_equal(*(s.counts for s in found.statistics['depth']))
    assert found.statistics['semseg'][0].classes[0] == 'bed'
    none = browse_dataset(config(), tmp_path / 'n', indices=[-1], mode='original', histograms=0)
    assert none.histograms is None and len(none.pictures) == 1


def test_wrapped_and_joined_data_sets_are_browsed_as_one_list():
    one = config().train_dataloader.dataset
    joined = dict(
        type='ConcatDataset', datasets=[one, dict(type='RepeatDataset', dataset=one, times=3)]
    )
    cfg = Config(dict(default_scope='mmdense', train_dataloader=dict(dataset=joined)))
    source = _Source(cfg, 'train')
    assert len(source) == 8
    first, fifth = (source.stages(i, 'original', 1, 0)[1][0].image for i in (0, 4))
    assert np.array_equal(first, fifth)


def test_unreadable_pictures_are_named_and_the_rest_is_drawn(tmp_path, monkeypatch):
    read = RoomsDataset.read_sample

    def broken(self, info):
        if info['sample_idx'] == 0:
            raise DataError('room 0 is damaged')
        return read(self, info)

    monkeypatch.setattr(RoomsDataset, 'read_sample', broken)
    # With on_error='skip' another picture would be shown under its name.
    cfg = config(on_error='skip', length=2, tasks=dict(depth=dict(type='Depth')))
    found = browse_dataset(cfg, tmp_path, indices=[0, 1], mode='original', histograms=2)
    assert len(found.pictures) == 1 and found.unreadable == ['room 0 is damaged']
    assert found.statistics['depth'][0].pictures == 1
    with pytest.raises(DataError, match=r'None of 1 pictures.*room 0 is damaged'):
        browse_dataset(cfg, tmp_path, indices=[0], histograms=0)


def test_wrong_use_is_one_clear_line(tmp_path):
    with pytest.raises(ConfigError, match='no val_dataloader'):
        browse_dataset(config(), tmp_path, split='val')
    with pytest.raises(ConfigError, match=r"mode='both'.*concat"):
        browse_dataset(config(), tmp_path, mode='both')
    with pytest.raises(ConfigError, match='there are 4 pictures'):
        browse_dataset(config(), tmp_path, indices=[4])
    foreign = Config(dict(train_dataloader=dict(dataset=dict(type=Foreign))))
    with pytest.raises(ConfigError, match='Foreign, which is none of mmdense'):
        browse_dataset(foreign, tmp_path)


class Foreign:
    """A data set of another package."""
