import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmdense.models.backbones import SwinV2
from mmdense.models.backbones.swin_v2 import PatchMerging
from mmdense.utils import ShapeError

ARCH = dict(embed_dims=8, depths=(2, 2, 3, 2), num_heads=(1, 2, 4, 8))


def small(**kwargs):
    return SwinV2(**dict(dict(arch=ARCH, window_size=4), **kwargs))


def lively(model):
    """Weights and norms at which every term counts."""
    for name, value in model.named_parameters():
        if value.ndim == 1 and 'norm' in name and name.endswith('weight'):
            nn.init.uniform_(value, 0.5, 1.5)
        elif not name.endswith('logit_scale'):
            nn.init.normal_(value, std=0.3)
    return model


@pytest.mark.parametrize('size', [(64, 96), (65, 97), (61, 90), (8, 200)])
def test_maps_round_up(size):
    model = small().eval()
    assert (model.channels, model.strides) == ((8, 16, 32, 64), (4, 8, 16, 32))
    with torch.no_grad():
        for x, c, s in zip(model(torch.randn(2, 3, *size)), model.channels, model.strides):
            assert x.shape == (2, c, *(-(-n // s) for n in size)) and x.isfinite().all()


def dense_stage(stage, x):
    """A stage on ``(B, H, W, C)`` by attention of all tokens over all, and a mask."""
    if stage.downsample is not None:
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        quarters = [x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)]
        x = stage.downsample.norm(stage.downsample.reduction(torch.cat(quarters, -1)))
    for number, block in enumerate(stage.blocks):
        x = x + block.norm1(dense_attention(block.attn, x, shifted=number % 2 == 1))
        hidden = F.gelu(block.mlp['fc1'](x))
        x = x + block.norm2(block.mlp['fc2'](hidden))
    return x


def dense_attention(attn, x, shifted):
    height, width = x.shape[1:3]
    side, heads = attn.window_size, attn.num_heads
    x = F.pad(x, (0, 0, 0, -width % side, 0, -height % side))
    rows, columns = x.shape[1:3]
    at = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
    shift = torch.tensor([side // 2 if shifted and n > side else 0 for n in (rows, columns)])
    windows = (at - shift).div(side, rounding_mode='floor')
    together = (windows[:, None] == windows[None]).all(-1)
    offset = 8 * (at[:, None] - at[None]).to(x.dtype) / (side - 1)
    spaced = offset.sign() * (offset.abs() + 1).log2() / 3
    bias = 16 * attn.cpb_mlp(spaced).sigmoid().permute(2, 0, 1)
    weight, vector = attn.qkv.weight.chunk(3), attn.qkv.bias.chunk(3)
    tokens = x.flatten(1, 2)
    q, k, v = (
        (tokens @ w.t() + b * keep).unflatten(-1, (heads, -1)).transpose(1, 2)
        for w, b, keep in zip(weight, vector, (1, 0, 1))
    )
    cosines = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-1, -2)
    scores = cosines * attn.logit_scale.exp().clamp(max=100) + bias
    mixed = scores.masked_fill(~together, -math.inf).softmax(-1) @ v
    mixed = attn.proj(mixed.transpose(1, 2).flatten(2)).unflatten(1, (rows, columns))
    return mixed[:, :height, :width]


@torch.no_grad()
@pytest.mark.parametrize(
    ('size', 'score'), [((32, 32), -math.inf), ((36, 52), -100.0), ((29, 66), -math.inf)]
)
def test_network_is_attention_of_all_tokens_with_a_mask(size, score):
    model = lively(small(excluded_score=score)).double().eval()
    x = torch.randn(2, 3, *size).double()
    y = F.pad(x, (0, -size[1] % 4, 0, -size[0] % 4))
    y = F.conv2d(y, model.patch_embed.proj.weight, model.patch_embed.proj.bias, stride=4)
    y = model.patch_embed.norm(y.permute(0, 2, 3, 1))
    for found, stage in zip(model(x), model.stages):
        y = dense_stage(stage, y)
        last = model.norm3(y) if stage is model.stages[-1] else y
        # The offsets of the layers are float32 numbers.
        torch.testing.assert_close(found.permute(0, 2, 3, 1), last, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_scores_of_the_other_side_are_as_told():
    model = lively(small(excluded_score=0.0)).eval()
    x = torch.randn(1, 3, 64, 64)
    mixed = model(x)[0]
    model.excluded_score = -math.inf
    assert not torch.allclose(model(x)[0], mixed, atol=1e-3)


def test_patches_merge_in_the_order_of_the_releases():
    merging = PatchMerging(2)
    x = torch.zeros(1, 2, 2, 2)
    for n, (row, column) in enumerate([(0, 0), (1, 0), (0, 1), (1, 1)]):
        x[0, row, column] = torch.tensor([10.0 * n, 10.0 * n + 1])
    seen = []
    merging.reduction.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    merging(x)
    assert seen[0].flatten().tolist() == [0, 1, 10, 11, 20, 21, 30, 31]


def test_outputs_and_their_norms():
    assert [n for n, _ in small().named_children()][2:] == ['norm3']
    last = small(out_indices=(3,))
    assert (last.channels, last.strides) == ((64,), (32,))
    every = small(output_norm='all').train()
    for x in every(torch.randn(1, 3, 64, 64)):
        torch.testing.assert_close(x.mean(1), torch.zeros_like(x[:, 0]), atol=1e-5, rtol=0)
    early = small(out_indices=(1, 0))
    assert len(early.stages) == 2 and not hasattr(early, 'norm1')
    assert len(early(torch.randn(1, 3, 64, 64))) == 2


def test_settings_of_the_published_sizes():
    with torch.device('meta'):
        model = SwinV2('base', window_size=(16, 16, 16, 8), pretrained_window_size=(12, 12, 12, 6))
    blocks = [block for stage in model.stages for block in stage.blocks]
    rates = [block.drop_path.drop_prob for block in blocks]
    assert rates == pytest.approx([0.5 * i / 23 for i in range(24)])
    assert [block.shifted for block in blocks] == [False, True] * 12
    assert [stage.blocks[0].attn.window_size for stage in model.stages] == [16, 16, 16, 8]
    assert {stage.blocks[0].attn.pretrained_window_size for stage in model.stages} == {12, 6}
    assert [stage.blocks[0].attn.num_heads for stage in model.stages] == [4, 8, 16, 32]
    assert model.channels == (128, 256, 512, 1024)
    assert {block.norm1.eps for block in blocks} == {1e-5}


def test_every_parameter_learns_and_recomputation_changes_nothing():
    grads = []
    for with_cp in (False, True):
        torch.manual_seed(0)
        model = lively(small(out_indices=(3,), with_cp=with_cp, drop_path_rate=0.3)).train()
        x = torch.randn(3, 3, 64, 70)
        model(x)[0].square().sum().backward()
        assert not [name for name, p in model.named_parameters() if p.grad is None]
        grads.append([p.grad for p in model.parameters()])
    torch.testing.assert_close(grads[0], grads[1])


def test_start_from_scratch_on_any_device():
    with torch.device('meta'):
        model = small()
    model = model.to_empty(device='cpu')
    model.init_weights()
    fresh = small()
    for one in (model, fresh):
        attn = one.stages[2].blocks[1].attn
        assert attn.logit_scale.flatten().tolist() == pytest.approx([math.log(10)] * 4)
        linears = [m for m in one.modules() if isinstance(m, nn.Linear) and m.weight.numel() > 400]
        assert all(0.015 < m.weight.std() < 0.02 for m in linears)
        assert not any(m.bias.any() for m in linears if m.bias is not None)
    for a, b in zip(model.buffers(), fresh.buffers()):
        assert torch.equal(a, b)
    # What follows from the window is not stored.
    assert not any('offsets' in name or 'index' in name for name in model.state_dict())


@torch.no_grad()
def test_copies_and_half_precision():
    model = small(arch=dict(ARCH, embed_dims=32)).eval()
    x = torch.randn(2, 3, 65, 97)
    expected = model(x)
    assert all(torch.equal(a, b) for a, b in zip(copy.deepcopy(model)(x), expected))
    alone = model(x[:1])
    with torch.autocast('cpu', torch.bfloat16):
        rounded = model(x)
    for a, b, c in zip(expected, alone, rounded):
        torch.testing.assert_close(a[:1], b, rtol=1e-4, atol=1e-5)
        assert (a - c).norm() < 0.1 * a.norm()


@pytest.mark.slow
@torch.no_grad()
def test_export_gives_the_same_maps():
    model = small(arch=dict(ARCH, depths=(2, 1, 1, 1))).eval()
    x = torch.randn(1, 3, 40, 72)
    found = torch.export.export(model, (x,)).module()(x)
    for a, b in zip(found, model(x)):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(arch='smal'), "SwinV2.arch is 'smal'.*Did you mean 'small'"),
        (dict(arch=dict(embed_dims=8, depths=(2,), num_heads=(1, 2))), 'one entry per stage'),
        (dict(out_indices=(4,)), r'SwinV2.out_indices is \(4,\); choose stages of 0 to 3'),
        (dict(output_norm='none'), "SwinV2.output_norm is 'none'"),
        (dict(window_size=(8, 8)), r'SwinV2.window_size is \(8, 8\).*each of the 4 stages'),
        (dict(window_size=0), 'SwinV2.window_size is 0'),
    ],
)
def test_wrong_settings_are_one_clear_error(settings, message):
    with pytest.raises(ValueError, match=message):
        small(**settings)


def test_other_channels_are_one_clear_error():
    with pytest.raises(ShapeError, match=r'input \(1, 4, 32, 32\), expected \(B, 3, H, W\)'):
        small()(torch.zeros(1, 4, 32, 32))
