"""Task interaction and task query: which tokens see which, against explicit forms."""

import math
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mmdense.models.necks import TaskInteraction, TaskQuery
from mmdense.structures import DenseFeatures
from mmdense.utils import ShapeError

TASKS = ['semseg', 'depth', 'normal']
C, HEADS = 8, 4


def build(kind, tasks=TASKS, **kwargs):
    torch.manual_seed(0)
    neck = kind(C, tasks, **kwargs).double().eval()
    for p in neck.parameters():
        nn.init.normal_(p, std=0.3)
    return neck


def features(batch=2, size=(5, 6), tasks=TASKS, maps=1, seed=1):
    torch.manual_seed(seed)
    own = {t: tuple(torch.randn(batch, C, *size).double() for _ in range(maps)) for t in tasks}
    return DenseFeatures(per_task=own)


def tokens_of(feats, index=0):
    """(B, T, N, C)"""
    return torch.stack([m[index].flatten(2).mT for m in feats.per_task.values()], 1)


def results(neck, feats):
    """(B, T, N, C), of the first map where there are two."""
    out = neck(feats).per_task
    return torch.stack(
        [(m[0] if isinstance(m, tuple) else m).flatten(2).mT for m in out.values()], 1
    )


def attend(attention, q, k, v=None):
    """One head after the other, for queries (L, C) and keys (S, C): nothing but sums."""
    wq, wk, wv = attention.in_proj_weight.chunk(3)
    bq, bk, bv = attention.in_proj_bias.chunk(3)
    q, k, v = q @ wq.T + bq, k @ wk.T + bk, k @ wv.T + bv
    width = C // HEADS
    heads = []
    for h in range(HEADS):
        part = slice(h * width, (h + 1) * width)
        scores = q[:, part] @ k[:, part].T / math.sqrt(width)
        heads.append(scores.softmax(1) @ v[:, part])
    return torch.cat(heads, 1) @ attention.out_proj.weight.T + attention.out_proj.bias


def cell_means(x, stride):
    """Means of cells of (C, h, w), those at the border smaller: (cells, C)."""
    h, w = x.shape[1:]
    return torch.stack(
        [
            x[:, i : i + stride, j : j + stride].mean((1, 2))
            for i in range(0, h, stride)
            for j in range(0, w, stride)
        ]
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 10))
def test_keys_are_means_of_cells_at_any_size(height, width, stride):
    x = torch.randn(2, C, height, width).double()
    pooled = TaskInteraction(C, TASKS, kv_stride=stride).pool(x)
    assert pooled.shape[-2:] == (-(-height // stride), -(-width // stride))
    for b in range(2):
        torch.testing.assert_close(pooled[b].flatten(1).T, cell_means(x[b], stride))


@pytest.mark.parametrize('pre_norm', [True, False])
@pytest.mark.parametrize('stride', [1, 2, 4, 8])
def test_token_interaction_is_the_equation(stride, pre_norm):
    neck = build(TaskInteraction, kv_stride=stride, pre_norm=pre_norm)
    feats = features()
    maps = [m[0] for m in feats.per_task.values()]
    out = results(neck, feats)
    for b in range(2):
        keys = neck.norm(torch.cat([cell_means(m[b], stride) for m in maps]))
        for t, m in enumerate(maps):
            queries = neck.norm(m[b].flatten(1).T)
            expected = neck.smlp(attend(neck.attention, queries, keys))
            torch.testing.assert_close(out[b, t], expected)


@pytest.mark.parametrize('pre_norm', [True, False])
@pytest.mark.parametrize('stride', [1, 3])
def test_token_query_is_the_equation(stride, pre_norm):
    neck = build(TaskQuery, kv_stride=stride, pre_norm=pre_norm)
    feats = features(maps=2)
    out = results(neck, feats)
    for b in range(2):
        cells = torch.cat([cell_means(m[0][b], stride) for m in feats.per_task.values()])
        for t, (task, (_, asking)) in enumerate(feats.per_task.items()):
            block = neck.queries[task]
            own = asking[b].flatten(1).T
            mixed = attend(block.attention, block.query_norm(own), block.key_norm(cells))
            torch.testing.assert_close(out[b, t], own + block.smlp(mixed))


def test_interaction_hands_on_its_input_behind_its_result():
    feats = features()
    out = build(TaskInteraction)(feats).per_task
    for task, (own,) in feats.per_task.items():
        assert out[task][1] is own and out[task][0].shape == own.shape


@pytest.mark.parametrize('kind', [TaskInteraction, TaskQuery])
def test_key_grid_has_as_many_keys_at_any_size(kind):
    neck = build(kind, kv_grid=(2, 3))
    for size in ((4, 6), (9, 7), (2, 3)):
        assert neck.pool(torch.zeros(1, C, *size)).shape[-2:] == (2, 3)
    assert neck.pool(torch.zeros(1, C, 1, 8)).shape[-2:] == (1, 3)
    strided = build(kind, kv_stride=2)
    feats = features(size=(4, 6))
    torch.testing.assert_close(results(neck, feats), results(strided, feats))


def test_keys_of_default_stride_are_counted_as_published():
    neck = build(TaskInteraction)
    assert neck.pool(torch.zeros(1, C, 107, 140)).shape[-2:] == (14, 18)


def reached(neck, feats, picture, task, pixel):
    """Which tokens (B, T, N) change with one token."""
    before = results(neck, feats)
    moved = {t: tuple(m.clone() for m in maps) for t, maps in feats.per_task.items()}
    for m in moved[task]:
        m[picture].flatten(1)[:, pixel] += torch.linspace(-2, 1, C).double()  # not uniform: norms
    after = results(neck, DenseFeatures(per_task=moved))
    return (after - before).abs().amax(-1) > 1e-9


@pytest.mark.parametrize('kind', [TaskInteraction, TaskQuery])
@pytest.mark.parametrize('options', [dict(kv_stride=1), dict(kv_stride=2), dict(kv_grid=(2, 2))])
def test_one_token_reaches_all_tokens_of_its_picture_and_no_other(kind, options):
    changed = reached(build(kind, **options), features(), 0, 'depth', 11)
    assert changed[0].all() and not changed[1].any()


@pytest.mark.filterwarnings('ignore:Task')
def test_released_attention_reaches_the_same_pixel_of_all_pictures():
    changed = reached(build(TaskQuery, attention='released'), features(), 0, 'depth', 11)
    assert changed[..., 11].all() and changed.sum() == 2 * 3
    changed = reached(build(TaskInteraction, attention='released'), features(), 0, 'depth', 11)
    assert changed[:, 1, 11].all() and changed.sum() == 2


def test_pixel_attention_reaches_the_tasks_of_one_pixel():
    changed = reached(build(TaskQuery, attention='pixel'), features(), 0, 'depth', 11)
    assert changed[0, :, 11].all() and changed.sum() == 3
    changed = reached(build(TaskInteraction, attention='pixel'), features(), 0, 'depth', 11)
    assert changed[0, 1, 11] and changed.sum() == 1


@pytest.mark.parametrize('attention', ['token', 'pixel'])
@pytest.mark.parametrize('kind', [TaskInteraction, TaskQuery])
def test_pictures_do_not_depend_on_each_other(kind, attention):
    neck = build(kind, attention=attention)
    feats, other = features(batch=3), features(batch=3, seed=2)
    mixed = {t: (m[0].clone(),) for t, m in feats.per_task.items()}
    for t, (m,) in mixed.items():
        m[1:] = other.per_task[t][0][1:]
    out = results(neck, feats)
    assert torch.equal(out[0], results(neck, DenseFeatures(per_task=mixed))[0])
    turned = {t: (m[0][[2, 0, 1]],) for t, m in feats.per_task.items()}
    torch.testing.assert_close(results(neck, DenseFeatures(per_task=turned)), out[[2, 0, 1]])


@pytest.mark.parametrize('pre_norm', [True, False])
@pytest.mark.parametrize('kind', [TaskInteraction, TaskQuery])
def test_pixel_equals_released_for_one_picture(kind, pre_norm):
    feats = features(batch=1, maps=2)
    pixel, released = (
        results(build(kind, attention=a, pre_norm=pre_norm), feats) for a in ('pixel', 'released')
    )
    torch.testing.assert_close(pixel, released, atol=1e-6, rtol=0)


def old_layout(attention, query, key):
    """What PyTorch 1.7 made of (B, tokens, C): heads and tokens as batch, the rest as sequence.

    The length of the keys was inferred from their number of elements.
    """
    length, batch, _ = query.shape
    wq, wk, wv = attention.in_proj_weight.chunk(3)
    bq, bk, bv = attention.in_proj_bias.chunk(3)
    width = C // HEADS
    q = (query @ wq.T + bq).contiguous().view(length, batch * HEADS, width).transpose(0, 1)
    k = (key @ wk.T + bk).contiguous().view(-1, batch * HEADS, width).transpose(0, 1)
    v = (key @ wv.T + bv).contiguous().view(-1, batch * HEADS, width).transpose(0, 1)
    weights = (q / math.sqrt(width) @ k.transpose(1, 2)).softmax(-1)
    mixed = (weights @ v).transpose(0, 1).contiguous().view(length, batch, C)
    return mixed @ attention.out_proj.weight.T + attention.out_proj.bias


@pytest.mark.filterwarnings('ignore:Task')
@pytest.mark.parametrize('batch', [1, 3])
def test_released_is_the_old_layout_rule(batch):
    feats = features(batch=batch, maps=2)
    tokens, asking = tokens_of(feats), tokens_of(feats, 1)
    neck = build(TaskInteraction, attention='released', pre_norm=False)
    together = tokens.flatten(1, 2)
    expected = neck.smlp(old_layout(neck.attention, together, together))
    torch.testing.assert_close(results(neck, feats), expected.view_as(tokens))
    neck = build(TaskQuery, attention='released', pre_norm=False)
    out = results(neck, feats)
    for t, task in enumerate(TASKS):
        block = neck.queries[task]
        mixed = old_layout(block.attention, asking[:, t], together)
        torch.testing.assert_close(out[:, t], asking[:, t] + block.smlp(mixed))


def test_pixel_interaction_has_dead_queries_and_keys():
    neck = build(TaskInteraction, attention='pixel')
    results(neck, features()).square().sum().backward()
    weight, bias = neck.attention.in_proj_weight.grad, neck.attention.in_proj_bias.grad
    assert not weight[: 2 * C].any() and not bias[: 2 * C].any()
    assert weight[2 * C :].any() and bias[2 * C :].any()


def test_dead_parameters_of_the_published_width():
    with torch.device('meta'):
        neck = TaskInteraction(256, TASKS)
    assert neck.attention.in_proj_weight[:512].numel() + 512 == 131_584


@pytest.mark.parametrize('kind', [TaskInteraction, TaskQuery])
def test_released_warns_of_batches(kind):
    neck = build(kind, attention='released')
    with pytest.warns(UserWarning, match='mixes the 2 pictures of the batch'):
        neck(features())
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        neck(features(batch=1))


@pytest.mark.parametrize('attention', ['token', 'pixel'])
@pytest.mark.parametrize('kind', [TaskInteraction, TaskQuery])
def test_recomputation_changes_no_gradient(kind, attention):
    found = []
    for with_cp in (False, True):
        neck = build(kind, attention=attention, with_cp=with_cp)
        feats = features()
        inputs = [m[0].requires_grad_() for m in feats.per_task.values()]
        results(neck, feats).square().sum().backward()
        found.append([x.grad for x in (*inputs, *neck.parameters())])
    torch.testing.assert_close(found[1], found[0])


def test_any_neck_with_one_map_serves_all_tasks():
    x = torch.randn(2, C, 4, 5).double()
    out = build(TaskQuery)(DenseFeatures(shared=(x,))).per_task
    assert {t: m.shape for t, m in out.items()} == dict.fromkeys(TASKS, x.shape)
    assert not torch.equal(out['semseg'], out['depth'])


def test_wrong_options_and_shapes_are_one_clear_error():
    with pytest.raises(ValueError, match="attention is 'batch'"):
        TaskInteraction(C, TASKS, attention='batch')
    with pytest.raises(ValueError, match='give one of them'):
        TaskQuery(C, TASKS, kv_stride=2, kv_grid=(2, 2))
    with pytest.raises(ValueError, match="have no effect with attention='pixel'"):
        TaskQuery(C, TASKS, attention='pixel', kv_stride=2)
    with pytest.raises(ValueError, match='need positive numbers'):
        TaskInteraction(C, TASKS, kv_stride=0)
    feats = features()
    feats.per_task['depth'] = torch.zeros(2, C, 3, 3).double()
    with pytest.raises(ShapeError, match='maps of the tasks differ in size'):
        build(TaskQuery)(feats)
