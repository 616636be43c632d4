import math

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmdense.apis.benchmark import Settings, benchmark, measure_peak
from mmdense.apis.complexity import measure_complexity
from mmdense.apis.model_parts import build_model, input_size, parts_of, random_targets, tensors_in
from mmdense.utils.config_check import ConfigError

TASKS = dict(
    semseg=dict(type='SemSeg', num_classes=40),  # as NYUv2Dataset
    depth=dict(type='Depth'),
    normal=dict(type='Normal'),
    boundary=dict(type='Boundary'),
)


@pytest.fixture
def cfg():
    """A small convolutional model for four tasks, its neck borrowed from mmseg."""
    pipeline = [dict(type='TaskAwarePad', size=(32, 64))]
    backbone = dict(type='mmseg.ResNetV1c', depth=18, base_channels=8, out_indices=(0, 1))
    heads = {key: dict(type='ConvHead', in_channels=4, channels=4) for key in TASKS}
    return Config(
        dict(
            default_scope='mmdense',
            model=dict(
                type='DensePredictor',
                tasks=TASKS,
                backbone=backbone,
                neck=dict(type='mmseg.FPN', in_channels=[8, 16], out_channels=4, num_outs=2),
                heads=heads,
            ),
            optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1)),
            train_dataloader=dict(
                batch_size=2,
                sampler=dict(type='DefaultSampler'),
                dataset=dict(
                    type='NYUDv2Dataset', data_root='nowhere', tasks=TASKS, pipeline=pipeline
                ),
            ),
        )
    )


def test_random_ground_truth_is_what_tasks_accept(cfg):
    model = build_model(cfg, 'cpu').eval()
    targets = random_targets(model, torch.randn(2, 3, 32, 64))
    assert set(targets) == set(TASKS)
    for key, target in targets.items():
        task = model.tasks[key]
        assert target.shape == (2, task.gt_channels, 32, 64)
        array = target[0].permute(1, 2, 0).squeeze(-1).numpy()
        task.check(array, 'test')
        assert task.valid(array).mean() > 0.9


def test_parts_rerun_to_the_same_features(cfg):
    model = build_model(cfg, 'cpu').eval()
    inputs = torch.randn(1, 3, 32, 64)
    parts = {part.name: part for part in parts_of(model, inputs)}
    assert list(parts) == ['backbone', 'neck.0', *(f'head.{key}' for key in TASKS)]
    with torch.no_grad():
        whole = model(inputs, mode='tensor')
        for key in TASKS:
            torch.testing.assert_close(parts[f'head.{key}'].forward(), whole[key])


def test_part_losses_reach_the_parameters(cfg):
    model = build_model(cfg, 'cpu').train()
    inputs = torch.randn(2, 3, 32, 64)
    for part in parts_of(model, inputs, random_targets(model, inputs)):
        part.loss().backward()
        assert any(p.grad is not None for p in part.module.parameters()), part.name


def test_benchmark_measures_every_part_and_says_what_it_cannot(cfg):
    settings = Settings((32, 64), batch_size=2, steps=1, warmup=0, workers=(0,), memory=False)
    rows = benchmark(cfg, settings)
    names = ['step', 'backbone', 'neck.0', *(f'head.{key}' for key in TASKS)]
    for what in ('inference', 'training'):
        assert [row.part for row in rows if row.what == what] == names
    for row in rows[:-1]:
        assert row.images_per_second == pytest.approx(2000 / row.milliseconds)
        assert row.milliseconds > 0
    assert rows[-1].milliseconds is None
    assert 'nowhere' in rows[-1].note


def test_benchmark_leaves_grad_mode_alone(cfg):
    benchmark(cfg, Settings((32, 64), steps=1, warmup=0, train=False, memory=False))
    assert torch.is_grad_enabled()


@pytest.mark.parametrize('train', [False, True])
def test_peak_memory_is_a_number(cfg, train):
    peak = measure_peak(cfg, Settings((64, 64)), train)
    assert peak is None or peak >= 0


def test_complexity_of_known_layers(cfg):
    rows = {row.part: row for row in measure_complexity(cfg, (32, 64))}
    model = build_model(cfg, 'meta')
    assert rows['total'].parameters == sum(p.numel() for p in model.parameters())
    # Two lateral 1x1 and two 3x3 convolutions at strides 4 and 8 (mmseg.FPN).
    fine, coarse = 8 * 16, 4 * 8
    lateral = 8 * 4 * fine + 16 * 4 * coarse
    smooth = 9 * 4 * 4 * (fine + coarse)
    assert rows['neck.0'].macs == lateral + smooth
    parts = sum(row.macs for name, row in rows.items() if name != 'total')
    assert rows['total'].macs == parts


def test_complexity_grows_with_the_area(cfg):
    small, large = (measure_complexity(cfg, shape)[-1].macs for shape in ((32, 64), (64, 128)))
    assert math.isclose(large, 4 * small, rel_tol=0.05)


def test_input_size(cfg):
    assert input_size(cfg) == (32, 64)
    cfg.model.data_preprocessor = dict(size=(5, 6))
    assert input_size(cfg) == (5, 6)
    with pytest.raises(ConfigError, match='--shape'):
        input_size(Config(dict(model=dict())))


def test_tensors_in_nested_values():
    value = dict(a=[torch.ones(1), (torch.ones(2), torch.ones(1, dtype=torch.long))], b=None)
    assert [len(item) for item in tensors_in(value)] == [1, 2]


def test_measurements_leave_the_default_scope_alone(cfg):
    def current():
        instance = DefaultScope.get_current_instance()
        return None if instance is None else instance.scope_name

    before = current()
    cfg.default_scope = 'mmseg'
    cfg.model.type = 'mmdense.DensePredictor'
    with pytest.raises(KeyError):  # its parts are mmdense's
        measure_complexity(cfg, (32, 64))
    assert current() == before


def test_foreign_model_is_measured_as_a_whole():
    model = dict(
        type='mmseg.EncoderDecoder',
        backbone=dict(type='mmseg.ResNetV1c', depth=18, base_channels=8),
        decode_head=dict(
            type='mmseg.FCNHead', in_channels=64, in_index=3, channels=4, num_classes=3, num_convs=1
        ),
    )
    settings = Settings((32, 64), steps=1, warmup=0, memory=False)
    rows = benchmark(Config(dict(default_scope='mmseg', model=model)), settings)
    assert [(row.what, row.part) for row in rows] == [('inference', 'step'), ('training', 'step')]
    assert rows[0].milliseconds > 0
    assert 'EncoderDecoder has no `tasks`' in rows[1].note
