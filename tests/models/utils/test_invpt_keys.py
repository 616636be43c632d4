"""Released InvPT checkpoints: whatever the layers are called, they find their place."""

import importlib.util
from pathlib import Path

import pytest
import torch

from mmdense.models.utils import compare_state_dicts, convert_invpt_keys, load_invpt_release
from mmdense.registry import MODELS

ROOT = Path(__file__).parents[3]
VIT, WIDTH, TAP = 24, 16, 40
TASKS = dict(
    semseg=dict(type='SemSeg', num_classes=5),
    depth=dict(type='Depth'),
    normal=dict(type='Normal'),
    boundary=dict(type='Boundary'),
)
OUTPUTS = dict(semseg=5, depth=1, normal=3, edge=1)
NAMED = dict(zip(OUTPUTS, OUTPUTS))
NUMBERED = {name: str(i) for i, name in enumerate(OUTPUTS)}


def config():
    arch = dict(depth=4, channels=VIT, num_heads=2)
    return dict(
        type='mmdense.DensePredictor',
        tasks=TASKS,
        backbone=dict(type='VisionTransformer', arch=arch, patch_size=4, img_size=(16, 24)),
        neck=[
            dict(type='PreliminaryDecoder', in_channels=VIT, channels=TAP, embed_dim=WIDTH),
            dict(type='UPTransformer', skip_channels=(VIT, VIT), channels=WIDTH),
        ],
        heads={key: dict(type='ConvHead', in_channels=WIDTH, num_convs=0) for key in TASKS},
    )


def conv(name, out, into, size, bias=True):
    shapes = {f'{name}.weight': (out, into, size, size)}
    return shapes | ({f'{name}.bias': (out,)} if bias else {})


def pair(name, shape):
    return {f'{name}.weight': shape, f'{name}.bias': shape[:1]}


def batch_norm(name, c):
    names = ('weight', 'bias', 'running_mean', 'running_var')
    return {**{f'{name}.{n}': (c,) for n in names}, f'{name}.num_batches_tracked': ()}


def unit(name, out, into, inner=('conv', 'bn'), groups=1):
    shapes = conv(f'{name}.{inner[0]}', out, into // groups, 3, bias=False)
    return shapes | batch_norm(f'{name}.{inner[1]}', out)


def release(tag=NAMED, letters=True, backbone=None):
    """Random weights with layers that the published definition has, dead ones included.

    ``tag`` is how the names speak of a task; without ``letters`` linear maps are numbered.
    """
    sizes = (WIDTH, WIDTH // 2, WIDTH // 4)
    four = ('to_q', 'to_k', 'to_v', 'out') if letters else ('0', '1', '2', '3')
    shapes = conv('dec.skips.0', VIT, sizes[2], 3) | conv('dec.skips.1', sizes[1], VIT, 3)
    shapes['dec.skips.0.bias'] = (sizes[2],)
    shapes |= conv('dec.skips.2', WIDTH, VIT, 3)
    for name, outputs in OUTPUTS.items():
        shapes |= unit(f'dec.pre.{tag[name]}.0', VIT, VIT) | unit(
            f'dec.pre.{tag[name]}.1', TAP, VIT
        )
        shapes |= conv(f'dec.out.{tag[name]}', outputs, TAP, 1)
        shapes |= conv(f'dec.mix.{tag[name]}', WIDTH, TAP + outputs, 1)
    for i, c in enumerate(sizes):
        stage = f'dec.scales.{i}'
        for name in OUTPUTS:
            if i:
                shapes |= unit(f'{stage}.up.{tag[name]}.a', c, 2 * c)
                shapes |= unit(f'{stage}.up.{tag[name]}.b', c, c)
            shapes |= unit(f'{stage}.block.query.{tag[name]}', c, c, groups=c)
        for linear in four:
            shapes |= pair(f'{stage}.block.attend.{linear}', (c, c))
        shapes |= pair(f'{stage}.block.norm1', (c,)) | pair(f'{stage}.block.norm2', (c,))
        shapes |= pair(f'{stage}.block.mlp.fc1', (4 * c, c))
        shapes |= pair(f'{stage}.block.mlp.fc2', (c, 4 * c))
        shapes |= conv(f'{stage}.fuse', 2, 4, 1)
        shapes |= pair(f'dec.norms.{i}', (4 * c,))
        for name in OUTPUTS:
            shapes |= conv(f'dec.reduce.{i}.{tag[name]}', WIDTH, c, 1)
    shapes |= pair('dec.last_norm', (4 * sizes[2],))
    for name, outputs in OUTPUTS.items():
        shapes |= unit(f'dec.final.{tag[name]}', WIDTH, WIDTH)
        shapes |= conv(f'heads.{tag[name]}', outputs, WIDTH, 1)
    weights = {name: torch.randn(shape) for name, shape in shapes.items()}
    encoder = backbone or MODELS.build(dict(config()['backbone'], type='mmdense.VisionTransformer'))
    return {**{f'encoder.{k}': v for k, v in encoder.state_dict().items()}, **weights}


@pytest.mark.parametrize('letters', [True, False])
@pytest.mark.parametrize('tag', [NAMED, NUMBERED], ids=['named', 'numbered'])
def test_every_layer_finds_its_place(tag, letters):
    model, weights = MODELS.build(config()), release(tag, letters)
    converted, dropped = convert_invpt_keys(weights, model)
    report = compare_state_dicts(model, converted)
    assert not report.missing and not report.unexpected and not report.mismatched
    assert len(converted) + len(dropped) == len(weights)
    q, k = ('to_q', 'to_k') if letters else ('0', '1')
    up = f'dec.scales.2.up.{tag["edge"]}'
    pairs = {
        'encoder.blocks.3.mlp.fc2.bias': 'backbone.blocks.3.mlp.fc2.bias',
        f'dec.pre.{tag["depth"]}.1.bn.running_var': 'neck.0.decoders.depth.1.1.running_var',
        f'dec.mix.{tag["edge"]}.weight': 'neck.0.embeddings.boundary.weight',
        f'dec.out.{tag["edge"]}.weight': 'neck.0.predictors.boundary.weight',
        'dec.skips.0.weight': 'neck.1.skips.1.weight',
        'dec.skips.1.bias': 'neck.1.skips.0.bias',
        f'dec.scales.0.block.attend.{q}.weight': 'neck.1.stages.0.attention.proj_q.weight',
        f'dec.scales.1.block.attend.{k}.bias': 'neck.1.stages.1.attention.proj_k.bias',
        'dec.scales.2.block.norm2.weight': 'neck.1.stages.2.norm2.weight',
        'dec.scales.2.fuse.weight': 'neck.1.stages.2.attention.fuse.weight',
        f'{up}.b.bn.weight': 'neck.1.stages.2.up.boundary.1.1.weight',
        'dec.norms.2.weight': 'neck.1.norms.2.weight',
        f'dec.reduce.1.{tag["normal"]}.weight': 'neck.1.reductions.0.normal.weight',
        f'heads.{tag["depth"]}.weight': 'heads.depth.predictor.weight',
    }
    for theirs, ours in pairs.items():
        assert converted[ours] is weights[theirs], ours
    assert dropped == {
        'dec.skips.2.weight': 'skip convolution of the first scale',
        'dec.skips.2.bias': 'skip convolution of the first scale',
        'dec.scales.0.fuse.weight': 'score fusion of the first scale',
        'dec.scales.0.fuse.bias': 'score fusion of the first scale',
        'dec.last_norm.weight': 'unused layer norm',
        'dec.last_norm.bias': 'unused layer norm',
        **{
            f'dec.reduce.0.{t}.{part}': 'reduction of the first scale'
            for t in tag.values()
            for part in ('weight', 'bias')
        },
    }


def test_unused_norm_beside_a_block_is_told_from_its_own():
    model, weights = MODELS.build(config()), release()
    moved = {k.replace('dec.last_norm', 'dec.scales.0.norm'): v for k, v in weights.items()}
    converted, dropped = convert_invpt_keys(moved, model)
    assert dropped['dec.scales.0.norm.weight'] == 'unused layer norm'
    assert not compare_state_dicts(model, converted).missing


def test_linear_maps_are_told_by_their_letter():
    """Stored in another order than query, key, value."""
    model, weights = MODELS.build(config()), release()
    names = [name for name in weights if '.attend.' in name]
    weights = {k: v for k, v in weights.items() if k not in names} | {
        name: weights[name] for name in sorted(names, reverse=True)
    }
    converted, _ = convert_invpt_keys(weights, model)
    for letter in 'qkv':
        source = weights[f'dec.scales.1.block.attend.to_{letter}.weight']
        assert converted[f'neck.1.stages.1.attention.proj_{letter}.weight'] is source


def test_numbers_follow_the_order_that_is_given():
    model, weights = MODELS.build(config()), release(NUMBERED)
    turned, _ = convert_invpt_keys(weights, model, tasks=['semseg', 'edge', 'normals', 'depth'])
    assert turned['heads.boundary.predictor.weight'] is weights['heads.1.weight']
    assert turned['heads.depth.predictor.weight'] is weights['heads.3.weight']


def test_order_of_stacked_scores():
    model, weights = MODELS.build(config()), release()
    turned, _ = convert_invpt_keys(weights, model, previous_first=True)
    stored = weights['dec.scales.1.fuse.weight']
    found = turned['neck.1.stages.1.attention.fuse.weight']
    assert torch.equal(found, stored[:, [2, 3, 0, 1]])


def test_positions_of_another_grid_are_resized():
    model = MODELS.build(config())
    square = dict(config()['backbone'], type='mmdense.VisionTransformer', img_size=16)
    converted, _ = convert_invpt_keys(release(backbone=MODELS.build(square)), model)
    assert converted['backbone.pos_embed'].shape == (1, 25, VIT)


def test_unknown_layers_keep_their_names_and_lacking_ones_are_named():
    model, weights = MODELS.build(config()), release()
    strange = {'dec.new.weight': torch.zeros(3, 5)}
    converted, dropped = convert_invpt_keys({**weights, **strange}, model)
    assert 'dec.new.weight' in converted and 'dec.new.weight' not in dropped
    lacking = {k: v for k, v in weights.items() if not k.startswith('dec.final.depth')}
    with pytest.raises(ValueError, match=r'has 4 layers with a weight \(16, 16, 3, 3\)'):
        convert_invpt_keys(lacking, model)
    decoder = {k: v for k, v in weights.items() if not k.startswith('encoder.')}
    with pytest.raises(ValueError, match=r'no key ends with .patch_embed.proj.weight.'):
        convert_invpt_keys(decoder, model)
    resnet = dict(config(), backbone=dict(type='ResNet', depth=18), neck=None)
    with pytest.raises(ValueError, match='expected a VisionTransformer'):
        convert_invpt_keys(weights, MODELS.build(resnet))


def test_tool_writes_a_checkpoint_of_the_model(tmp_path, capsys):
    source, target, cfg = (tmp_path / name for name in ('released.pth', 'ours.pth', 'cfg.py'))
    weights = release()
    torch.save(dict(model={f'module.{k}': v for k, v in weights.items()}), source)
    cfg.write_text(f'model = {config()!r}\n')
    path = ROOT / 'tools' / 'model_converters' / 'invpt.py'
    spec = importlib.util.spec_from_file_location('invpt', path)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert tool.main([str(cfg), str(source), str(target)]) == 0
    assert '0 missing, 0 of wrong shape, 0 unexpected' in capsys.readouterr().out
    model = MODELS.build(config())
    model.load_state_dict(torch.load(target)['state_dict'])
    assert torch.equal(model.heads.normal.predictor.bias, weights['heads.normal.bias'])
    report = load_invpt_release(model, str(source))
    assert not report.names()
    assert tool.main([str(cfg), str(tmp_path / 'none.pth'), str(target)]) == 2
