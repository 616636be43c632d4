"""Training with a part against training without: turns, figures, the command line."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmdense.apis import cost_ratio
from mmdense.apis.benchmark import Settings
from mmdense.apis.cost_ratio import CostRatio, clock_name, give_full_weight, measure_ratios
from mmdense.apis.model_parts import build_model, deployed
from mmdense.utils.config_check import ConfigError

ROOT = Path(__file__).parents[2]
ONCE = Settings(shape=(16, 24), batch_size=2, steps=2, warmup=1, memory=False)
CONFIG = """
default_scope = 'mmdense'
tasks = dict(semseg=dict(type='SemSeg', num_classes=3), depth=dict(type='Depth'))
model = dict(
    type='DensePredictor', tasks=tasks,
    backbone=dict(type='mmseg.ResNetV1c', depth=18, base_channels=4, out_indices=(0,),
                  num_stages=1, strides=(1,), dilations=(1,)),
    heads=dict.fromkeys(tasks, dict(type='ConvHead', in_channels=4, channels=4)),
    regularizers=dict(triplane=dict(
        type='TriplaneRegularizer', feature='backbone', in_channels=[4], channels=4, hidden=4,
        mid_channels=4, coarse=4, fine=4, ramp_fraction=0.5)))
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))
train_dataloader = dict(
    batch_size=2, sampler=dict(type='DefaultSampler'),
    dataset=dict(type='RoomsDataset', length=2, size=(16, 24), tasks=tasks,
                 pipeline=[dict(type='PackDenseInputs')]))
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'tiny.py'
    path.write_text(CONFIG)
    return path


@pytest.fixture(scope='module')
def tool():
    path = ROOT / 'tools' / 'analysis_tools' / 'benchmark.py'
    spec = importlib.util.spec_from_file_location('benchmark_tool', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_calls_take_turns_and_begin_in_turn(monkeypatch):
    now, called = [0.0], []
    monkeypatch.setattr(cost_ratio, '_clock', lambda settings: lambda: now[0])

    def call(name, seconds):
        called.append(name)
        now[0] += seconds

    calls = [lambda: call('a', 3.0), lambda: call('b', 2.0)]
    first, other = cost_ratio.take_turns(calls, ONCE)
    assert called == ['a', 'b', 'b', 'a', 'a', 'b']
    assert (first, other) == ([3.0, 3.0], [2.0, 2.0])


def test_the_ratio_is_the_median_over_pairs(monkeypatch):
    # A machine that slows down threefold half-way: each pair meets it alike.
    seconds = ([1.2, 1.2, 3.6, 3.6, 3.9], [1.0, 1.0, 3.0, 3.0, 3.0])
    monkeypatch.setattr(cost_ratio, '_time_and_parameters', lambda *_: (seconds, [4.0, 2.0]))
    step, parameters = measure_ratios(None, None, ONCE)
    assert step.ratio == pytest.approx(1.2)
    assert (step.low, step.high) == pytest.approx((1.2, 1.2))
    assert (step.with_it, step.without) == pytest.approx((3600, 3000))
    assert parameters == CostRatio('parameters, M', 4.0, 2.0, 2.0)


def test_both_configs_are_trained_and_counted(config):
    cfg = Config.fromfile(config)
    step, parameters = measure_ratios(cfg, deployed(cfg), ONCE)
    own = build_model(cfg, 'cpu').train_only_triplane
    added = (parameters.with_it - parameters.without) * 1e6
    assert added == pytest.approx(sum(p.numel() for p in own.parameters()))
    assert 0 < step.low <= step.ratio <= step.high


def test_losses_are_weighed_in_full(config):
    cfg = Config.fromfile(config)
    for change in (dict(), dict(ramp_fraction=None, ramp_iters=500, alpha_max=3.0)):
        cfg.model.regularizers.triplane.update(change)
        model = build_model(cfg, 'cpu').train()
        give_full_weight(model)
        branch = model.train_only_triplane
        assert branch.ramp.at(branch.clock.iteration, branch.clock) == branch.ramp.alpha_max > 0


def test_memory_is_that_of_each_config_alone(config, monkeypatch):
    cfg = Config.fromfile(config)
    plain = deployed(cfg)
    peaks = {id(cfg): 30.0, id(plain): 20.0}
    monkeypatch.setattr(cost_ratio, 'in_own_process', lambda _, one, *rest: peaks[id(one)])
    rows = measure_ratios(cfg, plain, Settings(shape=(16, 24), batch_size=1, steps=1, warmup=0))
    assert rows[1] == CostRatio('peak, MiB', 30.0, 20.0, 1.5)


def test_command_line(config, tool, capsys, tmp_path):
    command = [str(config), '--against', '--steps', '1', '--warmup', '0', '--no-memory']
    assert tool.main([*command, '--device', 'cpu', '--json']) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row['what'] for row in found['rows']] == ['step, ms', 'parameters, M']
    assert found['against'] == 'the same without regularizers'
    assert clock_name(ONCE) in found['protocol']
    plain = tmp_path / 'plain.py'
    plain.write_text(CONFIG + "\nmodel.pop('regularizers')\n")
    command[2:2] = [str(plain)]
    assert tool.main(command) == 0
    printed = capsys.readouterr().out
    assert '| with' in printed and 'median over pairs' in printed
    assert tool.main([str(plain), '--against']) == 2
    assert 'has no regularizers to train without' in capsys.readouterr().err


def test_models_without_tasks_are_refused(monkeypatch):
    monkeypatch.setattr(cost_ratio, 'build_model', lambda *_: torch.nn.Linear(1, 1))
    with pytest.raises(ConfigError, match='Linear has no `tasks`'):
        measure_ratios(Config(), Config(), ONCE)
