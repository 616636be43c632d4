import time

import numpy as np
import pytest
from mmcv.transforms import BaseTransform
from mmengine import fileio
from mmengine.config import Config

from mmdense.apis.loader_profile import _reading_rows, profile_loader
from mmdense.datasets import BaseDenseDataset
from mmdense.registry import DATASETS, TRANSFORMS

#: Seconds of processor time that each part burns; far above what the toys do besides.
COST = dict(file=0.001, picture=0.002, depth=0.004, normal=0.002, check=0.003, move=0.002)


def burn(what):
    end = time.thread_time() + COST[what]
    while time.thread_time() < end:
        pass


@DATASETS.register_module(force=True)
class BusyDataset(BaseDenseDataset):
    available_tasks = ('depth', 'normal')

    def __init__(self, tasks, file, **kwargs):
        self.file = file
        super().__init__(tasks, **kwargs)

    def load_data_list(self):
        return [dict(sample_id=str(i)) for i in range(3)]

    def read_sample(self, info):
        fileio.get(self.file)
        burn('picture')
        gt = {}
        for key, task in self.tasks.items():
            burn(key)
            gt[key] = task.empty((4, 5))
        return dict(img=np.zeros((4, 5, 3), np.uint8), gt=gt, img_path='a', sample_id='a')

    def _read_checked(self, info):
        burn('check')
        return super()._read_checked(info)


@DATASETS.register_module(force=True)
class ForeignDataset:
    pass


@TRANSFORMS.register_module(force=True)
class BusyMove(BaseTransform):
    def transform(self, results):
        burn('move')
        return results


@pytest.fixture
def config(tmp_path, monkeypatch):
    file = tmp_path / 'a.bin'
    file.write_bytes(b'a')
    get = fileio.get

    def slow(*args, **kwargs):
        burn('file')
        return get(*args, **kwargs)

    monkeypatch.setattr(fileio, 'get', slow)
    dataset = dict(
        type='BusyDataset',
        file=str(file),
        tasks=dict(depth=dict(type='Depth'), normal=dict(type='Normal')),
        pipeline=[dict(type='BusyMove'), dict(type='BusyMove'), dict(type='PackDenseInputs')],
    )
    loader = dict(batch_size=2, num_workers=0, dataset=dataset, sampler=dict(type='DefaultSampler'))
    return Config(dict(default_scope='mmdense', train_dataloader=loader))


def test_each_step_is_charged_with_what_it_takes(config):
    before = fileio.get
    steps = profile_loader(config, pictures=8)
    assert fileio.get is before
    assert [step.step for step in steps] == [
        'file', 'decode picture', 'decode depth', 'decode normal', 'check', 'BusyMove',
        'BusyMove (2)', 'PackDenseInputs', 'other', 'collate',
    ]  # fmt: skip
    assert sum(step.share for step in steps) == pytest.approx(1)
    assert all(step.wall_ms > 0.99 * step.cpu_ms for step in steps if 'BusyMove' in step.step)
    found = {step.step: step.cpu_ms / 1000 for step in steps}
    assert COST['file'] <= found['file'] < 3 * COST['file']
    assert COST['move'] <= found['BusyMove'] < 3 * COST['move']
    assert COST['move'] <= found['BusyMove (2)'] < 3 * COST['move']
    assert COST['check'] <= found['check'] < 3 * COST['check']
    for key in ('picture', 'depth', 'normal'):
        assert COST[key] / 2 < found[f'decode {key}'] < 2 * COST[key], key


def test_a_data_set_with_one_task_has_one_row_for_decoding(config):
    config.train_dataloader.dataset.tasks = dict(depth=dict(type='Depth'))
    found = {step.step: step.cpu_ms / 1000 for step in profile_loader(config, pictures=4)}
    cost = COST['picture'] + COST['depth']
    assert cost <= found['decode picture and depth'] < 3 * cost


def test_reading_times_are_told_apart_exactly():
    # p = 4, depth 3, normal 2, semseg 1, and 5 of file access in a run twice as slow.
    # The second column, by the wall, is ten times that.
    both = np.array([1.0, 10.0])
    times = {'': 10 * both, 'depth': 7 * both, 'normal': 6 * both, 'semseg': 5 * both}
    found = _reading_rows(25 * both, 5 * both, times)
    expected = {
        'file': 5,
        'decode picture': 8,
        'decode depth': 6,
        'decode normal': 4,
        'decode semseg': 2,
    }
    assert list(found) == list(expected)
    for step, seconds in expected.items():
        assert np.allclose(found[step], seconds * both), step


def test_a_foreign_data_set_is_refused(config):
    config.train_dataloader.dataset = dict(type='ForeignDataset')
    with pytest.raises(ValueError, match=r'ForeignDataset.*mmdense only'):
        profile_loader(config)
