import importlib.util
import json
import logging
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

from mmdense.datasets import RoomsDataset
from mmdense.engine.evaluate import test as run_test
from mmdense.engine.hooks import SavePredictionsHook
from mmdense.engine.launch import load_config
from mmdense.evaluation import (
    MultiTaskEvaluator,
    evaluate_files,
    read_prediction,
    write_prediction,
)
from mmdense.evaluation.file_protocol import (
    normals_to_uint8,
    probability_to_uint8,
    uint8_to_probability,
)
from mmdense.registry import DATASETS, MODELS
from mmdense.tasks import build_tasks
from mmdense.utils import DataError, ShapeError

CONFIG = dict(
    semseg=dict(type='SemSeg', num_classes=13),
    depth=dict(type='Depth'),
    normal=dict(type='Normal'),
    saliency=dict(type='Saliency'),
    part=dict(type='Part'),
)
TASKS = build_tasks(CONFIG)
ROOMS = dict(length=3, split='val', size=(24, 32), test_mode=True)


@pytest.fixture(scope='module')
def rooms():
    pipeline = [dict(type='mmdense.PackDenseInputs')]
    return RoomsDataset(CONFIG, pipeline=pipeline, **ROOMS)


@pytest.fixture
def predicted(rooms):
    """Samples with noisy predictions, as a network would leave them."""
    generator = torch.Generator().manual_seed(0)
    samples = []
    for index in range(len(rooms)):
        sample = rooms[index]['data_samples']
        for key, task in TASKS.items():
            gt = sample.gt(task).float()
            noise = torch.randn(gt.shape, generator=generator)
            if key in ('semseg', 'part'):
                pred = torch.where(gt == 255, 0, gt).long()
            elif key == 'saliency':
                pred = (3 * gt - 1.5 + noise).sigmoid()
            elif key == 'normal':
                pred = torch.nn.functional.normalize(gt + 0.2 * noise, dim=0)
            else:
                pred = (gt + 0.2 * noise).clamp(min=1e-3)
            sample.set_pred(task, pred)
        samples.append(sample)
    return samples


def save(samples, folder, **options):
    hook = SavePredictionsHook(str(folder), **options)
    logger = MMLogger.get_current_instance()
    runner = SimpleNamespace(model=SimpleNamespace(tasks=TASKS), work_dir='.', logger=logger)
    for index, sample in enumerate(samples):
        hook.after_test_iter(runner, index, outputs=[sample])
    hook.after_test_epoch(runner)


def test_files_have_the_published_encodings(predicted, tmp_path):
    save(predicted, tmp_path)
    name = predicted[0].metainfo['sample_id']
    maps = {key: predicted[0].pred(task).numpy() for key, task in TASKS.items()}
    grey = cv2.imread(str(tmp_path / 'saliency' / f'{name}.png'), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(grey, np.floor(255 * maps['saliency'][0].astype(float)).astype(np.uint8))
    bgr = cv2.imread(str(tmp_path / 'normal' / f'{name}.png'))
    assert np.array_equal(
        bgr[..., ::-1], np.floor((maps['normal'].transpose(1, 2, 0) + 1) * 127.5).astype(np.uint8)
    )
    labels = cv2.imread(str(tmp_path / 'semseg' / f'{name}.png'), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(labels, maps['semseg'][0])
    assert np.array_equal(np.load(tmp_path / 'depth' / f'{name}.npy'), maps['depth'][0])


def test_read_back_in_the_conventions_of_the_task(tmp_path):
    values = np.random.default_rng(0).random((5, 6)).astype(np.float32)
    write_prediction(tmp_path, TASKS['saliency'], 'a/b.c', values)
    found = read_prediction(tmp_path, TASKS['saliency'], 'a/b.c')
    assert np.array_equal(found, uint8_to_probability(probability_to_uint8(values)))
    assert np.array_equal(probability_to_uint8(found), probability_to_uint8(values))
    normals = np.random.default_rng(1).uniform(-1, 1, (4, 4, 3))
    write_prediction(tmp_path, TASKS['normal'], 'n', normals)
    found = read_prediction(tmp_path, TASKS['normal'], 'n')
    assert np.array_equal(normals_to_uint8(found), normals_to_uint8(normals))
    assert read_prediction(tmp_path, TASKS['depth'], 'n') is None


def test_scores_of_files_equal_those_of_the_file_protocol_in_memory(predicted, rooms, tmp_path):
    save(predicted, tmp_path)
    options = dict(tasks=CONFIG, metrics=None, profile='mti', data='rooms')
    live = MultiTaskEvaluator(**options)
    for sample in predicted:
        live.process([sample])
    expected = live.evaluate(len(predicted))
    files = MultiTaskEvaluator(**options)
    assert evaluate_files(files, rooms, tmp_path) == expected
    # Without truncation the floats score a little differently.
    exact = MultiTaskEvaluator(tasks=CONFIG, metrics=None, profile='atrc', data='rooms')
    for sample in predicted:
        exact.process([sample])
    difference = abs(exact.evaluate(3)['normal/mean'] - expected['normal/mean'])
    assert 1e-6 < difference < 0.3


def test_missing_broken_and_resized_files_are_named(predicted, rooms, tmp_path):
    save(predicted, tmp_path)
    name = predicted[1].metainfo['sample_id']

    def run(*keys):
        tasks = {key: CONFIG[key] for key in keys}
        evaluate_files(MultiTaskEvaluator(tasks=tasks, metrics=None), rooms, tmp_path)

    (tmp_path / 'semseg' / f'{name}.png').unlink()
    with pytest.raises(DataError, match=rf"semseg: 1, e\.g\. '{name}'\) of 3"):
        run('semseg', 'depth')
    run('depth')
    np.save(tmp_path / 'depth' / f'{name}.npy', np.ones((4, 4)))
    with pytest.raises(ShapeError, match=rf"{name}.*'depth' is \(4, 4\), the ground truth \(24"):
        run('depth')
    (tmp_path / 'normal' / f'{name}.png').write_bytes(b'<html>')
    with pytest.raises(DataError, match=f'{name}.png'):
        run('normal')


def test_chosen_tasks_only(predicted, tmp_path):
    save(predicted, tmp_path, tasks=['depth'])
    assert [path.name for path in tmp_path.iterdir()] == ['depth']


def test_tool_scores_a_folder_by_any_profile(predicted, tmp_path, capsys):
    save(predicted, tmp_path / 'maps')
    config = tmp_path / 'config.py'
    dataset = dict(type='RoomsDataset', pipeline=[dict(type='PackDenseInputs')], **ROOMS)
    config.write_text(
        f'default_scope = "mmdense"\ntasks = {CONFIG}\n'
        f'test_dataloader = dict(dataset={dataset})\n'
        'test_evaluator = dict(type="MultiTaskEvaluator", tasks=tasks, metrics=None)\n'
    )
    path = Path(__file__).parents[2] / 'tools' / 'analysis_tools' / 'evaluate_files.py'
    spec = importlib.util.spec_from_file_location('evaluate_files_tool', path)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    arguments = [str(tmp_path / 'maps'), str(config), '--out', str(tmp_path / 'x.json')]
    assert tool.main([*arguments, '--profile', 'mti', '--data', 'rooms']) == 0
    assert 'profile mti on rooms' in capsys.readouterr().out
    report = json.loads((tmp_path / 'x.json').read_text())
    assert report['headlines']['saliency'] == 'saliency/mIoU'
    assert report['resolution'] == {'24x32': 3}
    assert tool.main([*arguments, '--tasks', 'depth']) == 0
    assert json.loads((tmp_path / 'x.json').read_text())['profile'] is None
    assert tool.main([*arguments, '--profile', 'mt', '--data', 'rooms']) == 2
    assert "Did you mean 'mti'" in capsys.readouterr().err


@pytest.mark.slow
def test_test_tool_saves_files_that_score_the_same(tmp_path, monkeypatch):
    """Also: model selection at another size than the native one, for both sides."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging, 'raiseExceptions', False)
    root = Path(__file__).parents[2]
    config = str(root / 'configs' / 'baselines' / 'mtl_r18-thin_1xb8-600_rooms-96x128_3task.py')
    cfg = load_config(config)
    init_default_scope('mmdense')
    torch.manual_seed(0)
    torch.save(dict(state_dict=MODELS.build(cfg.model).state_dict()), 'init.pth')
    resize = dict(type='TaskAwareResize', size=(64, 80))
    options = {
        'test_dataloader.dataset.length': 3,
        'test_dataloader.num_workers': 0,
        'test_dataloader.persistent_workers': False,
        'test_dataloader.dataset.cache_dir': str(tmp_path / 'rooms'),
        'test_dataloader.dataset.pipeline': [
            dict(resize, with_gt=False),
            dict(type='PackDenseInputs'),
        ],
        'model.test_cfg': dict(resized='maps'),
        'test_evaluator.profile': 'mti',
        'test_evaluator.data': 'rooms',
        'custom_hooks': [],
    }
    live = run_test(
        config, 'init.pth', work_dir='work', cfg_options=options, out='a.json', pred_dir='maps'
    )
    assert json.loads(Path('a.json').read_text())['resolution'] == {'96x128': 3}
    cfg.merge_from_dict(options)
    evaluator = MultiTaskEvaluator(**{k: v for k, v in cfg.test_evaluator.items() if k != 'type'})
    assert evaluate_files(evaluator, DATASETS.build(cfg.test_dataloader.dataset), 'maps') == live

    options['test_dataloader.dataset.pipeline'] = [resize, dict(type='PackDenseInputs')]
    options['model.test_cfg'] = dict(resize=False)
    run_test(config, 'init.pth', work_dir='work', cfg_options=options, out='b.json')
    assert json.loads(Path('b.json').read_text())['resolution'] == {'64x80': 3}
