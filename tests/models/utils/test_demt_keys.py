"""Released DeMT checkpoints: a synthetic one by the names of the release loads completely."""

import importlib.util
import warnings
from pathlib import Path

import pytest
import torch

from mmdense.models.utils import compare_state_dicts, convert_demt_keys, load_demt_release
from mmdense.registry import MODELS

ROOT = Path(__file__).parents[3]
WIDTH, LEVELS = 8, (8, 16, 32, 64)
TASKS = dict(
    semseg=dict(type='SemSeg', num_classes=5),
    depth=dict(type='Depth'),
    normal=dict(type='Normal'),
    boundary=dict(type='Boundary'),
)
RELEASED_NAMES = ('semseg', 'depth', 'normals', 'edge')


def config(released=True, tasks=TASKS, **kwargs):
    head = dict(type='ConvHead', in_channels=WIDTH, channels=6)
    return dict(
        type='mmdense.DensePredictor',
        tasks=tasks,
        backbone=dict(type='ResNet', depth=18, stem_channels=8, base_channels=8),
        neck=dict(type='DeMTNeck', in_channels=LEVELS, channels=WIDTH, released=released, **kwargs),
        heads=dict.fromkeys(tasks, head),
    )


def release(depth=2):
    """Random weights under the names of the release, of the shapes that its code has."""
    c, total = WIDTH, sum(LEVELS)
    shapes = {'linear1.0.weight': (c, total), 'linear1.0.bias': (c,), **layer_norm('linear1.1')}
    for t, name in enumerate(RELEASED_NAMES):
        for i in range(depth):
            block = f'defor_mixers.{t}.blocks.{i}'
            shapes |= conv(f'{block}.0', c, c, 1) | batch_norm(f'{block}.2', c)
            shapes |= conv(f'{block}.3.fn.0', c, c, 1) | batch_norm(f'{block}.3.fn.2', c)
            shapes |= conv(f'{block}.3.fn.0.get_offset.p_conv', 18, c, 3)
            shapes |= conv(f'{block}.3.fn.0.get_offset.opt', 2 * c, 9, 3)
            shapes[f'{block}.3.fn.0.offset'] = (1, 2 * c, 1, 1)
        shapes |= attention(f'task_querys.{t}') | mlp(f'smlp2.{t}')
        outputs = (5, 1, 3, 1)[t]
        shapes[f'bottleneck.{name}.conv.weight'] = (6, c, 3, 3)
        shapes |= batch_norm(f'bottleneck.{name}.bn', 6)
        shapes |= conv(f'final_logits.{name}', outputs, 6, 1)
    shapes |= attention('task_fusion') | mlp('smlp')
    weights = {f'head.{key}': torch.randn(shape) for key, shape in shapes.items()}
    backbone = MODELS.build(dict(config()['backbone'], type='mmdense.ResNet'))
    return {**weights, **{f'backbone.{k}': v for k, v in backbone.state_dict().items()}}


def conv(name, out, into, size):
    return {f'{name}.weight': (out, into, size, size), f'{name}.bias': (out,)}


def layer_norm(name):
    return {f'{name}.weight': (WIDTH,), f'{name}.bias': (WIDTH,)}


def batch_norm(name, c):
    names = ('weight', 'bias', 'running_mean', 'running_var')
    return {**{f'{name}.{n}': (c,) for n in names}, f'{name}.num_batches_tracked': ()}


def mlp(name):
    linear = {f'{name}.0.weight': (WIDTH, WIDTH), f'{name}.0.bias': (WIDTH,)}
    return linear | layer_norm(f'{name}.1')


def attention(name):
    return {
        f'{name}.in_proj_weight': (3 * WIDTH, WIDTH),
        f'{name}.in_proj_bias': (3 * WIDTH,),
        f'{name}.out_proj.weight': (WIDTH, WIDTH),
        f'{name}.out_proj.bias': (WIDTH,),
    }


def test_every_key_finds_its_place():
    model, weights = MODELS.build(config(depth=2)), release()
    converted = convert_demt_keys(weights)
    report = compare_state_dicts(model, converted)
    assert not report.missing and not report.unexpected and not report.mismatched
    # The unused buffers are all that is left behind.
    assert len(converted) == len(weights) - 2 * len(TASKS)
    pairs = {
        'head.defor_mixers.3.blocks.1.3.fn.0.get_offset.opt.bias': (
            'neck.0.mixer.mixers.boundary.1.spatial.conv.offset.opt.bias'
        ),
        'head.task_querys.2.in_proj_weight': (
            'neck.0.query.queries.normal.attention.in_proj_weight'
        ),
        'head.final_logits.edge.bias': 'heads.boundary.predictor.bias',
        'head.smlp.1.weight': 'neck.0.interaction.smlp.1.weight',
    }
    assert all(converted[ours] is weights[theirs] for theirs, ours in pairs.items())


def test_numbers_follow_the_order_that_is_given_or_stored():
    weights = release()
    turned = convert_demt_keys(weights, tasks=['edge', 'semseg', 'depth', 'normals'])
    name = 'neck.0.mixer.mixers.boundary.0.channel.conv.weight'
    assert turned[name] is weights['head.defor_mixers.0.blocks.0.0.weight']
    with pytest.raises(ValueError, match='belongs to task 2, but there are only 2'):
        convert_demt_keys(weights, tasks=['semseg', 'depth'])


def test_unknown_keys_keep_their_names():
    strange = {'head.new.weight': torch.zeros(1), 'optimizer': torch.zeros(1)}
    assert convert_demt_keys(strange) == strange


def test_loading_reports_and_warns_of_other_settings(tmp_path):
    path = tmp_path / 'released.pth'
    torch.save(dict(state_dict=release()), path)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        report = load_demt_release(MODELS.build(config(depth=2)), str(path))
    assert not report.missing and not report.unexpected
    other = MODELS.build(config(depth=2, offset_mode='content'))
    with pytest.warns(UserWarning, match=r"this model has \{'offset_mode': 'content'\}"):
        load_demt_release(other, str(path))
    with pytest.raises(ValueError, match='of the keys of the model found no weight'):
        load_demt_release(MODELS.build(config(depth=3)), str(path))
    head = dict(type='ConvHead', in_channels=8, channels=6)
    plain = MODELS.build(dict(config(), neck=None, heads=dict.fromkeys(TASKS, head)))
    with pytest.raises(ValueError, match='has no DeMTNeck'):
        load_demt_release(plain, str(path))


def test_tool_writes_a_checkpoint_of_the_model(tmp_path, capsys):
    source, target, cfg = (tmp_path / name for name in ('released.pth', 'ours.pth', 'cfg.py'))
    torch.save(release(depth=1), source)
    cfg.write_text(f'model = {config()!r}\n')
    spec = importlib.util.spec_from_file_location(
        'demt', ROOT / 'tools' / 'model_converters' / 'demt.py'
    )
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert tool.main([str(cfg), str(source), str(target)]) == 0
    assert '0 missing, 0 of wrong shape, 0 unexpected' in capsys.readouterr().out
    model = MODELS.build(config())
    model.load_state_dict(torch.load(target)['state_dict'])
    assert tool.main([str(cfg), str(tmp_path / 'none.pth'), str(target)]) == 2
