"""A task of one file, added from outside."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

sys.path.insert(0, str(Path(__file__).parent))
from project_utils import ROOT

from mmdense.apis.map_statistics import statistics_of
from mmdense.datasets import FolderDataset, RoomsDataset
from mmdense.datasets.rooms import render_room
from mmdense.evaluation import MultiTaskEvaluator
from mmdense.registry import TASKS, TRANSFORMS
from mmdense.tasks import build_tasks
from mmdense.utils import DataError

PROJECT = ROOT / 'projects' / 'example_new_task'
CONFIG = PROJECT / 'configs' / 'mtl_r18-thin_1xb8-600_rooms-96x128_albedo.py'


@pytest.fixture
def cfg(monkeypatch):
    """The config; reading it registers the task."""
    monkeypatch.syspath_prepend(str(PROJECT))
    found = Config.fromfile(CONFIG)
    init_default_scope('mmdense')
    return found


@pytest.fixture
def task(cfg):
    return TASKS.build(dict(type='Albedo'))


def test_page_shows_the_whole_task():
    shown = (PROJECT / 'README.md').read_text().split('```python\n')[1].split('```')[0]
    source = (PROJECT / 'albedo.py').read_text()
    assert shown in source and 'class Albedo' in shown
    # What the page leaves out is text and imports.
    code = source.replace(shown, '').split('"""')[2]
    assert all(line.startswith(('from ', 'import ')) for line in code.split('\n') if line)


def test_rooms_render_it_as_the_colour_that_light_falls_on(cfg):
    data = RoomsDataset(dict(cfg.tasks), length=6, split='val', size=(48, 64), serialize_data=False)
    shares, flatter = [], 0
    for index in range(6):
        sample = data[index]
        albedo, image = sample['gt']['albedo'], sample['img'] / 255
        assert albedo.dtype == np.float32 and albedo.shape == (48, 64, 3)
        assert albedo.min() >= 0 and albedo.max() <= 1
        shares.append(np.corrcoef(albedo.ravel(), image.ravel())[0, 1])
        # Shading varies over the floor, its colour only as its pattern does; no noise either.
        room = render_room(0, 'val', index, (48, 64))
        wall = room.instances == np.bincount(room.instances.ravel()).argmax()
        flatter += albedo[wall].std(0).mean() < image[wall].std(0).mean()
    assert min(shares) > 0.5
    assert flatter >= 5


def test_albedo_is_the_same_from_both_cameras():
    """What both views see of an instance has one mean colour, whatever light falls on it."""
    first, second = (render_room(0, 'train', 1, (96, 128), view) for view in (0, 1))
    for instance in (1, 3, 4):
        masks = [room.instances == instance for room in (first, second)]
        if min(mask.sum() for mask in masks) > 300:
            means = [room.albedo[m].mean(0) for room, m in zip((first, second), masks)]
            assert np.abs(means[0] - means[1]).max() < 8


def test_pipeline_metrics_and_pictures_take_it_as_they_come(task):
    rng = np.random.default_rng(0)
    gt = rng.uniform(0, 1, (12, 16, 3)).astype(np.float32)
    gt[0, 0] = -1
    assert build_tasks(dict(reflectance=dict(type='Albedo')))['albedo'].num_channels == 3
    results = dict(
        img=np.zeros((12, 16, 3), np.uint8), gt=dict(albedo=gt), tasks=dict(albedo=task),
        rng=rng, img_shape=(12, 16), ori_shape=(12, 16), sample_idx=0,
    )  # fmt: skip
    flipped = TRANSFORMS.build(dict(type='TaskAwareFlip', prob=1.0))(dict(results))
    assert np.array_equal(flipped['gt']['albedo'], gt[:, ::-1])
    larger = TRANSFORMS.build(dict(type='TaskAwareResize', size=(24, 32)))(flipped)
    assert larger['gt']['albedo'].shape == (24, 32, 3)
    sample = TRANSFORMS.build(dict(type='PackDenseInputs'))(larger)['data_samples']
    target = sample.gt(task)
    assert target.shape == (3, 24, 32) and (target[:, 0, -1] == -1).all()
    evaluator = MultiTaskEvaluator(dict(albedo=task), metrics=dict())
    known = task.valid_mask(target[None])[0]
    sample.set_pred(task, torch.where(known, target + 0.1, target))
    evaluator.process([sample])
    assert evaluator.evaluate(1)['albedo/mae'] == pytest.approx(0.1, rel=1e-5)
    picture = task.colorize(gt)
    assert (picture[0, 0] == 0).all() and np.abs(picture[1:] / 255 - gt[1:]).max() < 0.003
    assert task.best_constant([gt]).shape == (3,)
    statistics = statistics_of(task)
    statistics.update(gt, {})
    assert statistics.known == 12 * 16 - 1 and not statistics.problems()
    with pytest.raises(DataError, match=r"'albedo' holds \[1\.5\]; allowed are 0 to 1 and -1"):
        task.check(np.full((2, 2, 3), 1.5, np.float32), 'a.png')


def test_a_folder_of_pictures_can_hold_it(task, tmp_path):
    import cv2

    room = render_room(0, 'val', 0, (24, 32))
    for folder, array in (('images', room.image), ('albedo', room.albedo)):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / 'a.png'), array[..., ::-1])
    (tmp_path / 'dataset.yml').write_text('{tasks: {albedo: {scale: 1/255}}, splits: {train: [a]}}')
    data = FolderDataset(dict(albedo=task), data_root=str(tmp_path), serialize_data=False)
    assert np.allclose(data[0]['gt']['albedo'], room.albedo / 255, atol=1e-6)


@pytest.mark.slow
def test_config_trains_tests_and_draws(cfg, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, length in (('train', 16), ('val', 4), ('test', 4)):
        loader = cfg[f'{name}_dataloader']
        loader.update(num_workers=0, persistent_workers=False, batch_size=4)
        loader.dataset.update(size=(32, 48), length=length, cache_dir=None)
    cfg.model.backbone.update(stem_channels=8, base_channels=8)
    for head in cfg.model.heads.values():
        head.update(in_channels=[8, 16, 32, 64], channels=16)
    cfg.train_cfg.update(max_iters=20, val_interval=20)
    cfg.param_scheduler = []
    cfg.optim_wrapper.optimizer.lr = 3e-3
    cfg.merge_from_dict(dict(work_dir=str(tmp_path / 'work'), log_level='ERROR'))
    cfg.experiment_name = tmp_path.name
    runner = Runner.from_cfg(cfg)
    before = runner.val()
    runner.train()
    after = runner.val()
    assert after['albedo/mae'] < before['albedo/mae']
    assert (tmp_path / 'work/iter_20.pth').is_file() or list(tmp_path.glob('work/*.pth'))
    assert list(tmp_path.rglob('*.png')), 'no panel was drawn'
