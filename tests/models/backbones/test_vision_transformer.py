import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmseg.models.backbones import VisionTransformer as MMSegViT

from mmdense.models.backbones import VisionTransformer, convert_vit_keys
from mmdense.models.backbones.vit_keys import resize_position_table
from mmdense.models.utils import load_pretrained
from mmdense.registry import MODELS
from mmdense.utils import ShapeError

TINY = dict(arch=dict(depth=4, channels=12, num_heads=3), patch_size=4)


def tiny(**kwargs):
    return VisionTransformer(**{**TINY, 'img_size': (16, 24), **kwargs})


def randomise(model):
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn_like(p))
    return model


@pytest.mark.parametrize(
    ('arch', 'size', 'total'),
    [
        # As counted for InvPT: 304.13 M at 448x576.
        ('large', (448, 576), 304_133_120),
        ('large', 512, 304_149_504),
        ('base', (448, 576), 86_422_272),
        # Published sizes at 224: 86.6, 22.1 and 5.7 M with the classifier of 1000 classes.
        ('base', 224, 86_567_656 - 769_000),
        ('small', 224, 22_050_664 - 385_000),
        ('tiny', 224, 5_717_416 - 193_000),
    ],
)
def test_number_of_parameters(arch, size, total):
    with torch.device('meta'):
        model = VisionTransformer(arch, img_size=size)
    assert sum(p.numel() for p in model.parameters()) == total


def test_taps_of_the_known_sizes():
    with torch.device('meta'):
        large, base = VisionTransformer('large'), VisionTransformer('base')
        maps = large(torch.empty(2, 3, 224, 224))
    assert large.taps == (6, 12, 18, 24) and base.taps == (3, 6, 9, 12)
    assert large.channels == (1024,) * 4 and large.strides == (16,) * 4
    assert [x.shape for x in maps] == [(2, 1024, 14, 14)] * 4


@torch.no_grad()
def test_follows_the_definition_layer_by_layer():
    model = randomise(tiny()).double().eval()
    x = torch.randn(2, 3, 16, 24, dtype=torch.double)
    patches = F.unfold(x, 4, stride=4).transpose(1, 2)
    tokens = patches @ model.patch_embed.proj.weight.flatten(1).T + model.patch_embed.proj.bias
    tokens = torch.cat([model.cls_token.expand(2, -1, -1), tokens], dim=1) + model.pos_embed
    expected = []
    for block in model.blocks:
        y = F.layer_norm(tokens, (12,), block.norm1.weight, block.norm1.bias, 1e-6)
        q, k, v = F.linear(y, block.attn.qkv.weight, block.attn.qkv.bias).chunk(3, dim=-1)
        heads = []
        for h in range(3):
            part = slice(4 * h, 4 * h + 4)
            scores = q[..., part] @ k[..., part].transpose(1, 2) / math.sqrt(4)
            heads.append(scores.softmax(-1) @ v[..., part])
        y = torch.cat(heads, dim=-1)
        tokens = tokens + F.linear(y, block.attn.proj.weight, block.attn.proj.bias)
        y = F.layer_norm(tokens, (12,), block.norm2.weight, block.norm2.bias, 1e-6)
        y = F.gelu(F.linear(y, block.mlp.fc1.weight, block.mlp.fc1.bias))
        tokens = tokens + F.linear(y, block.mlp.fc2.weight, block.mlp.fc2.bias)
        expected.append(tokens)
    expected[-1] = F.layer_norm(tokens, (12,), model.norm.weight, model.norm.bias, 1e-6)
    for found, want in zip(model(x), expected):
        torch.testing.assert_close(found.flatten(2).transpose(1, 2), want[:, 1:])
        assert found.shape == (2, 12, 4, 6)


@torch.no_grad()
def test_openmmlab_weights_give_the_maps_of_mmseg():
    other = randomise(
        MMSegViT(
            img_size=(16, 24),
            patch_size=4,
            embed_dims=12,
            num_layers=4,
            num_heads=3,
            out_indices=(0, 1, 2, 3),
            patch_bias=True,
            final_norm=True,
            norm_cfg=dict(type='LN', eps=1e-6),
        )
    )
    model = tiny().eval()
    weights = {f'backbone.{name}': value for name, value in other.state_dict().items()}
    weights['decode_head.weight'] = torch.zeros(1)
    model.load_state_dict(convert_vit_keys(weights))
    x = torch.randn(2, 3, 16, 24)
    for found, want in zip(model(x), other(x)):
        torch.testing.assert_close(found, want, rtol=1e-4, atol=1e-5)


def authors_file(weights):
    """The arrays of an ``.npz`` release with the values of a state dict in timm's naming."""
    arrays = {
        'cls': weights['cls_token'],
        'embedding/kernel': weights['patch_embed.proj.weight'].permute(2, 3, 1, 0),
        'embedding/bias': weights['patch_embed.proj.bias'],
        'Transformer/posembed_input/pos_embedding': weights['pos_embed'],
        'Transformer/encoder_norm/scale': weights['norm.weight'],
        'Transformer/encoder_norm/bias': weights['norm.bias'],
        'head/kernel': torch.zeros(12, 10),
        'pre_logits/bias': torch.zeros(12),
    }
    for i in range(4):
        ours, theirs = f'blocks.{i}.', f'Transformer/encoderblock_{i}/'
        attention = theirs + 'MultiHeadDotProductAttention_1/'
        for name, norm in (('LayerNorm_0', 'norm1'), ('LayerNorm_2', 'norm2')):
            arrays[f'{theirs}{name}/scale'] = weights[f'{ours}{norm}.weight']
            arrays[f'{theirs}{name}/bias'] = weights[f'{ours}{norm}.bias']
        kernels = weights[f'{ours}attn.qkv.weight'].chunk(3)
        biases = weights[f'{ours}attn.qkv.bias'].chunk(3)
        for name, kernel, bias in zip(('query', 'key', 'value'), kernels, biases):
            arrays[f'{attention}{name}/kernel'] = kernel.T.reshape(12, 3, 4)
            arrays[f'{attention}{name}/bias'] = bias.reshape(3, 4)
        arrays[f'{attention}out/kernel'] = weights[f'{ours}attn.proj.weight'].T.reshape(3, 4, 12)
        arrays[f'{attention}out/bias'] = weights[f'{ours}attn.proj.bias']
        for j in (0, 1):
            dense = f'{theirs}MlpBlock_3/Dense_{j}/'
            arrays[f'{dense}kernel'] = weights[f'{ours}mlp.fc{j + 1}.weight'].T
            arrays[f'{dense}bias'] = weights[f'{ours}mlp.fc{j + 1}.bias']
    return {name: value.numpy() for name, value in arrays.items()}


def test_authors_file_loads_and_its_positions_are_resized(tmp_path):
    source = randomise(tiny(img_size=16))
    path = str(tmp_path / 'vit.npz')
    np.savez(path, **authors_file(source.state_dict()))
    same, wider = tiny(img_size=16), tiny(init_cfg=dict(type='Pretrained', checkpoint=path))
    report = load_pretrained(same, path, convert=same.convert_keys)
    assert not report.missing and not report.unexpected
    torch.testing.assert_close(same.state_dict(), source.state_dict())
    wider.init_weights()
    table = resize_position_table(source.pos_embed, (4, 6), (4, 4))
    torch.testing.assert_close(wider.pos_embed, table)
    # What is loaded for a wider grid is what the square model computes on such a picture.
    x = torch.randn(1, 3, 16, 24)
    torch.testing.assert_close(wider.eval()(x), source.eval()(x))


def test_npz_is_fetched_once_into_the_cache(tmp_path, monkeypatch):
    path = tmp_path / 'remote.npz'
    np.savez(path, **authors_file(tiny().state_dict()))
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    url = f'file://{path}'
    model = tiny()
    for _ in range(2):
        assert not load_pretrained(model, url, convert=model.convert_keys).missing
        path.unlink(missing_ok=True)
    assert (tmp_path / 'hub' / 'checkpoints' / 'remote.npz').exists()


def test_names_of_timm_pass_without_classifier():
    weights = tiny().state_dict()
    extra = {'head.weight': torch.zeros(1), 'fc_norm.bias': torch.zeros(1)}
    assert convert_vit_keys({**weights, **extra}).keys() == weights.keys()
    with pytest.raises(ValueError, match='distilled'):
        convert_vit_keys({'dist_token': torch.zeros(1)})


def test_position_table():
    table = torch.randn(1, 1 + 6, 5)
    assert resize_position_table(table, (2, 3), (2, 3)) is table
    assert resize_position_table(table, (2, 3)) is table
    larger = resize_position_table(table, (4, 9), (2, 3))
    assert larger.shape == (1, 37, 5) and torch.equal(larger[:, 0], table[:, 0])
    cells = table[:, 1:].reshape(1, 2, 3, 5)
    # Bicubic with half-pixel centres: three times as many columns hit the old ones.
    wide = resize_position_table(table, (2, 9), (2, 3))[:, 1:].reshape(1, 2, 9, 5)
    torch.testing.assert_close(wide[:, :, 1::3], cells)
    flat = resize_position_table(torch.ones(1, 10, 2), (5, 7))
    torch.testing.assert_close(flat, torch.ones(1, 36, 2))
    with pytest.raises(ValueError, match='neither a square nor the grid 4x9'):
        resize_position_table(table, (4, 9))


def test_pictures_are_padded_to_whole_patches():
    model = tiny().eval()
    x = torch.randn(1, 3, 14, 21)
    padded = F.pad(x, (0, 3, 0, 2))
    for found, want in zip(model(x), model(padded)):
        assert torch.equal(found, want) and found.shape[-2:] == (4, 6)


def test_stochastic_depth_grows_from_zero_and_keeps_the_mean():
    model = tiny(drop_path_rate=0.3)
    rates = [block.drop_path.drop_prob for block in model.blocks]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3])
    block = randomise(model).blocks[3]
    x = torch.randn(1, 5, 12).expand(4000, -1, -1)
    with torch.no_grad():
        branch = block.train()(x) - x
        dropped = (branch == 0).flatten(1).all(1).float().mean()
    # Both branches are dropped at 0.3 each.
    assert dropped == pytest.approx(0.09, abs=0.02)


def test_recomputing_changes_no_gradient():
    plain, saving = tiny(), tiny(with_cp=True)
    saving.load_state_dict(plain.state_dict())
    x = torch.randn(2, 3, 16, 24)
    for model in (plain, saving):
        sum(m.square().sum() for m in model(x)).backward()
    for a, b in zip(plain.parameters(), saving.parameters()):
        torch.testing.assert_close(a.grad, b.grad)
        assert a.grad.abs().sum() > 0


def test_built_on_meta_it_is_initialised_later():
    with torch.device('meta'):
        model = tiny()
    model = model.to_empty(device='cpu')
    model.init_weights()
    assert model.pos_embed.std().item() == pytest.approx(0.0176, rel=0.1)
    assert not model.blocks[0].attn.qkv.bias.any()
    assert all(torch.isfinite(x).all() for x in model(torch.randn(1, 3, 16, 24)))


@pytest.mark.parametrize(
    ('options', 'text'),
    [
        (dict(arch='larg'), "'larg'.*large"),
        (dict(arch=dict(depth=1, channels=10, num_heads=3)), 'heads that divide'),
        (dict(taps=(1, 3)), r'taps=\(1, 3\).*end with 4'),
        (dict(taps=(3, 1, 4)), 'rising'),
        (dict(taps=()), 'expected rising numbers'),
    ],
)
def test_wrong_options(options, text):
    with pytest.raises(ValueError, match=text):
        tiny(**options)


def test_wrong_channels():
    model = MODELS.build(dict(type='mmdense.VisionTransformer', **TINY, img_size=16))
    with pytest.raises(ShapeError, match=r'expected \(B, 3, H, W\)'):
        model(torch.randn(1, 4, 16, 16))
