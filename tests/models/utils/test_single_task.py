"""Trained single-task models become the start of models with a network per task."""

import importlib.util
from pathlib import Path

import pytest
import torch
from torch import nn

from mmdense.models.utils import merge_single_task
from mmdense.registry import MODELS

ROOT = Path(__file__).parents[3]
TASKS = dict(semseg=dict(type='SemSeg', num_classes=5), depth=dict(type='Depth'))
NETWORK = dict(type='DilatedResNet', depth=18, stem_channels=4, base_channels=4)
HEAD = dict(type='ConvHead', in_channels=32, in_index=-1, channels=4)


def config(tasks=('semseg', 'depth'), kind='CrossStitchBackbone', network=NETWORK, **kwargs):
    backbone = network if kind is None else dict(type=kind, backbone=network)
    return dict(
        type='DensePredictor',
        tasks={task: TASKS[task] for task in tasks},
        backbone=backbone,
        heads=dict.fromkeys(tasks, HEAD),
        **kwargs,
    )


def random_model(cfg):
    model = MODELS.build(cfg).eval()
    for value in model.state_dict().values():
        if value.is_floating_point():
            nn.init.uniform_(value, 0.1, 1)
    return model


def save(model, path):
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    return str(path)


@pytest.fixture
def single(tmp_path):
    """Models of one task, and their files."""
    models = {task: random_model(config((task,), None)) for task in TASKS}
    paths = {task: save(model, tmp_path / f'{task}.pth') for task, model in models.items()}
    return models, paths


@torch.no_grad()
@pytest.mark.parametrize('kind', ['TaskBackbones', 'CrossStitchBackbone', 'NDDRBackbone'])
def test_networks_and_heads_are_those_of_the_single_tasks(single, kind):
    models, paths = single
    merged = MODELS.build(config(kind=kind)).eval()
    exchange = {
        name: value.clone()
        for name, value in merged.state_dict().items()
        if name.startswith(('backbone.cross_stitch', 'backbone.nddr'))
    }
    reports = merge_single_task(merged, dict(reversed(paths.items())))
    state = merged.state_dict()
    assert list(reports) == list(TASKS)
    taken = [name for report in reports.values() for name in report.matched]
    assert sorted([*taken, *exchange]) == sorted(n for n in state if 'data_pre' not in n)
    assert all(torch.equal(state[name], value) for name, value in exchange.items())
    x = torch.randn(1, 3, 32, 32)
    for task, model in models.items():
        for a, b in zip(merged.backbone.networks[task](x), model.backbone(x)):
            assert torch.equal(a, b)
        if kind == 'TaskBackbones':
            assert torch.equal(merged.predict_maps(x)[task], model.predict_maps(x)[task])


def test_single_tasks_trained_side_by_side_are_known(tmp_path):
    trained = random_model(config(kind='TaskBackbones'))
    path = save(trained, tmp_path / 'all.pth')
    merged = MODELS.build(config())
    merge_single_task(merged, dict(semseg=path, depth=path))
    state = merged.state_dict()
    assert all(torch.equal(state[name], value) for name, value in trained.state_dict().items())


def test_task_names_of_other_projects_are_known(single):
    _, paths = single
    merged = MODELS.build(config())
    aliases = {task: merged.tasks[task].aliases for task in TASKS}
    named = {(aliases[task] or (task,))[0]: path for task, path in paths.items()}
    assert list(merge_single_task(merged, named)) == list(TASKS)


def test_nothing_is_loaded_unless_all_fits(single, tmp_path):
    _, paths = single
    wide = random_model(config(('depth',), None, dict(NETWORK, stem_channels=8)))
    paths = dict(paths, depth=save(wide, tmp_path / 'wide.pth'))
    merged = MODELS.build(config())
    before = {name: value.clone() for name, value in merged.state_dict().items()}
    with pytest.raises(ValueError, match=r"given for task 'depth'.*[1-9]\d* of wrong shape"):
        merge_single_task(merged, paths)
    assert all(torch.equal(value, before[name]) for name, value in merged.state_dict().items())


def test_checkpoints_that_do_not_fit_are_one_clear_error(single, tmp_path):
    _, paths = single
    merged = MODELS.build(config())

    def refused(match, **changes):
        with pytest.raises(ValueError, match=match):
            merge_single_task(merged, dict(paths, **changes))

    refused("given for task 'depth'.*missing.*heads.depth", depth=paths['semseg'])
    refused("no task 'dept'.*Did you mean 'depth'", dept=paths['depth'])
    refused("task 'semseg' is given two", seg=paths['semseg'])
    deeper = random_model(config(('depth',), None, dict(NETWORK, depth=34)))
    refused('unexpected: backbone', depth=save(deeper, tmp_path / 'deeper.pth'))
    other = random_model(config(('semseg',), 'TaskBackbones'))
    refused("but none for 'depth'", depth=save(other, tmp_path / 'other.pth'))
    weights = {'neck.0.weight': torch.zeros(1), **torch.load(paths['depth'])['state_dict']}
    torch.save(weights, tmp_path / 'neck.pth')
    refused(r'has a neck \(neck.0.weight', depth=str(tmp_path / 'neck.pth'))
    with pytest.raises(ValueError, match=r"no checkpoint for \['depth'\]"):
        merge_single_task(merged, dict(semseg=paths['semseg']))
    with pytest.raises(ValueError, match='a DilatedResNet, which has no network per task'):
        merge_single_task(MODELS.build(config(kind=None)), paths)


@pytest.fixture
def tool():
    path = ROOT / 'tools' / 'model_converters' / 'merge_single_task.py'
    spec = importlib.util.spec_from_file_location('merge_single_task', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tool_writes_what_training_starts_from(single, tool, tmp_path, capsys):
    models, paths = single
    cfg, target = tmp_path / 'cfg.py', tmp_path / 'merged.pth'
    cfg.write_text(f'model = {config()!r}\n')
    pairs = [f'{task}={path}' for task, path in paths.items()]
    assert tool.main([str(cfg), str(target), *pairs]) == 0
    out = capsys.readouterr().out
    assert 'depth: ' in out and '0 missing, 0 of wrong shape, 0 unexpected' in out
    assert '4 initialised' in out
    written = torch.load(target)['state_dict']
    assert not MODELS.build(config()).load_state_dict(written, strict=False).unexpected_keys
    for name, value in models['depth'].backbone.state_dict().items():
        assert torch.equal(written[f'backbone.networks.depth.{name}'], value)


@pytest.mark.parametrize(
    ('pairs', 'message'),
    [
        (['semseg={semseg}', 'depth'], 'give one TASK=CHECKPOINT for each task'),
        (['semseg={semseg}', 'semseg={semseg}'], 'give one TASK=CHECKPOINT for each task'),
        (['semseg={semseg}', 'depth=nowhere.pth'], 'this checkpoint does not exist'),
        (['semseg={semseg}'], r"no checkpoint for ['depth']"),
    ],
)
def test_tool_says_what_is_wrong(single, tool, tmp_path, capsys, pairs, message):
    cfg, target = tmp_path / 'cfg.py', tmp_path / 'merged.pth'
    cfg.write_text(f'model = {config()!r}\n')
    given = [pair.format(**single[1]) for pair in pairs]
    assert tool.main([str(cfg), str(target), *given]) != 0
    assert message in capsys.readouterr().err and not target.exists()
