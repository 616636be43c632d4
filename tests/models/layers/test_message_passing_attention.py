import pytest
import torch
import torch.nn.functional as F

from mmdense.models.layers import MessagePassingAttention, mixed_score_attention

TASKS = ('semseg', 'depth')


def operands(heads=2, batch=2, queries=5, keys=3, width=4):
    q, k, v = (
        torch.randn(batch, heads, n, width, dtype=torch.double, requires_grad=True)
        for n in (queries, keys, keys)
    )
    mix = torch.randn(heads, heads, dtype=torch.double, requires_grad=True)
    bias = torch.randn(batch, heads, queries, keys, dtype=torch.double, requires_grad=True)
    return q, k, v, mix, bias


@pytest.mark.parametrize('mixed', [True, False])
@pytest.mark.parametrize('biased', [True, False])
def test_form_without_stored_scores_equals_the_explicit_one(mixed, biased):
    q, k, v, mix, bias = operands()
    options = (0.3, mix if mixed else None, bias if biased else None)
    leaves = [q, k, v, *([mix] if mixed else []), *([bias] if biased else [])]
    results = []
    for need_scores in (True, False):
        out, scores = mixed_score_attention(q, k, v, *options, need_scores=need_scores)
        assert (scores is not None) == need_scores
        results.append((out, torch.autograd.grad(out.square().sum(), leaves)))
    (explicit, grads), (lean, lean_grads) = results
    torch.testing.assert_close(lean, explicit, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(lean_grads, grads, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize('need_scores', [True, False])
def test_scores_are_kept_once_at_most(need_scores):
    """Of tensors as large as the scores, the softmax keeps one; nothing unmixed is kept."""
    q, k, v, mix, bias = operands(queries=40, keys=30)
    kept = []

    def note(tensor):
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        mixed_score_attention(q, k, v, 0.3, mix, bias, need_scores)
    assert len({t.data_ptr() for t in kept if t.numel() >= bias.numel()}) == 1


def test_scores_by_hand():
    q, k, v, mix, bias = operands(batch=1)
    out, scores = mixed_score_attention(q, k, v, 0.3, mix, bias)
    for g in range(2):
        for i in range(5):
            row = [
                sum(mix[g, h] * 0.3 * (q[0, h, i] * k[0, h, j]).sum() for h in range(2))
                + bias[0, g, i, j]
                for j in range(3)
            ]
            weights = torch.stack(row).exp()
            expected = (weights / weights.sum()) @ v[0, g]
            torch.testing.assert_close(out[0, g, i], expected)
            torch.testing.assert_close(scores[0, g, i], torch.stack(row))


def plain_attention(module, maps, previous=None, previous_size=None):
    """Two tasks, written as a loop; ``maps`` are normalised, ``(B, C, h, w)`` per task.

    Returns the output per task on its query grid, and the fused scores.
    """
    heads, stride = module.num_heads, module.kv_stride
    queries, keys, values, sizes = [], [], [], []
    for task, x in maps.items():
        conv, norm = module.queries[task]
        y = F.conv2d(x, conv.weight, stride=2, padding=1, groups=x.shape[1])
        y = norm(y)
        sizes.append(y.shape[-2:])
        queries.append(F.linear(y.flatten(2).mT, module.proj_q.weight, module.proj_q.bias))
        rows = range(0, x.shape[2], stride)
        columns = range(0, x.shape[3], stride)
        cells = torch.stack(
            [x[..., i : i + stride, j : j + stride].mean((2, 3)) for i in rows for j in columns], 1
        )
        keys.append(F.linear(cells, module.proj_k.weight, module.proj_k.bias))
        values.append(F.linear(cells, module.proj_v.weight, module.proj_v.bias))
    # Score maps of a pair of tasks: (B, heads, query positions of a, key positions of b).
    fused = {}
    for a, q in enumerate(queries):
        for b, k in enumerate(keys):
            parts = zip(q.chunk(heads, -1), k.chunk(heads, -1))
            scores = torch.stack([qh @ kh.mT for qh, kh in parts], 1) * q.shape[-1] ** -0.5
            if previous is not None:
                old = previous[a, b].unflatten(2, tuple(previous_size))
                larger = torch.stack(
                    [
                        F.interpolate(old[..., n], size=sizes[a], mode='bilinear')
                        for n in range(old.shape[-1])
                    ],
                    -1,
                )
                stacked = torch.cat([scores, larger.flatten(2, 3)], dim=1)
                scores = module.fuse(stacked)
            fused[a, b] = scores
    out = {}
    for a, task in enumerate(maps):
        weights = torch.cat([fused[a, b] for b in range(len(maps))], -1).softmax(-1)
        every = torch.cat(values, 1).chunk(heads, -1)
        mixed = torch.cat([weights[:, h] @ every[h] for h in range(heads)], -1)
        y = F.linear(mixed, module.proj.weight, module.proj.bias)
        out[task] = y.mT.unflatten(2, sizes[a])
    return out, fused


def tokens_of(maps):
    return torch.cat([x.flatten(2).mT for x in maps.values()], 1)


@pytest.mark.parametrize('sends', [True, False])
@pytest.mark.parametrize('size', [(4, 6), (5, 7)])
def test_message_passing_is_that_of_a_loop_over_two_tasks(size, sends):
    torch.manual_seed(1)
    coarse = MessagePassingAttention(8, TASKS, 2, 2, sends=True).double().eval()
    fine = MessagePassingAttention(4, TASKS, 2, 4, receives=True, sends=sends).double().eval()
    larger = (2 * size[0], 2 * size[1])
    first = {t: torch.randn(2, 8, *size, dtype=torch.double) for t in TASKS}
    second = {t: torch.randn(2, 4, *larger, dtype=torch.double) for t in TASKS}
    query_size = (-(-size[0] // 2), -(-size[1] // 2))

    want, fused = plain_attention(coarse, first)
    found, scores = coarse(tokens_of(first), size)
    torch.testing.assert_close(found, tokens_of(want))
    want_fine, want_scores = plain_attention(fine, second, fused, query_size)
    found_fine, found_scores = fine(tokens_of(second), larger, scores, query_size)
    torch.testing.assert_close(found_fine, tokens_of(want_fine))
    if sends:
        rows = [torch.cat([want_scores[a, b] for b in range(2)], -1) for a in range(2)]
        torch.testing.assert_close(found_scores, torch.cat(rows, 2))
    else:
        assert found_scores is None


def test_scores_of_the_coarse_scale_matter_but_not_their_offset():
    fine = MessagePassingAttention(4, TASKS, 2, 4, receives=True).double().eval()
    tokens = torch.randn(1, 2 * 48, 4, dtype=torch.double)
    scores = torch.randn(1, 2, 2 * 6, 2 * 4, dtype=torch.double)
    out, _ = fine(tokens, (6, 8), scores, (2, 3))
    shifted, _ = fine(tokens, (6, 8), scores + 5, (2, 3))
    other, _ = fine(tokens, (6, 8), scores.flip(3), (2, 3))
    torch.testing.assert_close(shifted, out)
    assert (other - out).abs().max() > 1e-3


def test_every_parameter_gets_a_gradient():
    coarse = MessagePassingAttention(8, TASKS, 2, 2, sends=True)
    fine = MessagePassingAttention(4, TASKS, 2, 4, receives=True)
    assert coarse.fuse is None and fine.fuse.weight.shape == (2, 4, 1, 1)
    out, scores = coarse(torch.randn(2, 2 * 12, 8), (3, 4))
    fine_out, _ = fine(torch.randn(2, 2 * 48, 4), (6, 8), scores, (2, 2))
    (out.square().sum() + fine_out.square().sum()).backward()
    grads = {n: p.grad for m in (coarse, fine) for n, p in m.named_parameters()}
    assert all(grad is not None for grad in grads.values())
    assert grads['fuse.weight'].abs().min() > 0


def test_heads_must_divide_the_channels():
    with pytest.raises(ValueError, match='num_heads=3 does not divide channels=8'):
        MessagePassingAttention(8, TASKS, 3)
