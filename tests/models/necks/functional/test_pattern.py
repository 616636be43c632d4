"""Pattern-affinitive diffusion: all forms against loops, and what affinities are."""

import pytest
import torch

from mmdense.models.necks.functional import (
    pattern,
    pattern_affinity,
    pattern_diffusion,
    pattern_embedding,
)


def operands(tasks=3, tokens=10, channels=4):
    features = torch.randn(2, tasks, channels, tokens).double()
    features[:, :, 0] = features[:, :, 0].abs() + 0.1  # every token resembles itself
    return [features, torch.randn(tasks, tasks).double().softmax(1)]


def affinity_by_loops(features, affinity):
    """P of one picture and task, ``(C, N)`` to ``(N, N)``, pair by pair."""
    count = features.shape[1]
    if affinity == 'released':
        unit = features / features.square().sum(1, keepdim=True).sqrt()
    else:
        unit = features.clamp(min=0)
        unit = unit / unit.square().sum(0).sqrt()
    pairs = [[(unit[:, i] * unit[:, j]).sum() for j in range(count)] for i in range(count)]
    gram = torch.stack([torch.stack(row) for row in pairs])
    if affinity == 'released':
        return gram / gram.sum(0)
    return gram / gram.sum(1, keepdim=True)


def by_loops(features, mixing, num_iters, beta, affinity):
    out = []
    for picture in features:
        affinities = torch.stack([affinity_by_loops(x, affinity) for x in picture])
        for t, x in enumerate(picture):
            mixed = sum(w * p for w, p in zip(mixing[t], affinities))
            y = x.T
            for _ in range(num_iters):
                y = beta * mixed @ y + (1 - beta) * x.T
            out.append(y.T)
    return torch.stack(out).view(features.shape)


def with_gradients(form, inputs, **kwargs):
    leaves = [x.clone().requires_grad_() for x in inputs]
    out = form(*leaves, **kwargs)
    weights = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view(out.shape)
    return [out.detach(), *torch.autograd.grad((out * weights).sum(), leaves)]


FORMS = [dict(impl='linear'), dict(impl='explicit'), dict(impl='explicit', block_rows=3)]


@pytest.mark.parametrize('num_iters', [1, 3])
@pytest.mark.parametrize('tasks', [2, 3, 5])
@pytest.mark.parametrize('affinity', ['row_stochastic', 'released'])
def test_values_and_gradients_are_those_of_loops(affinity, tasks, num_iters):
    features, mixing = operands(tasks)
    if affinity == 'released':
        # Sums of columns away from 0, where all forms lose digits alike.
        features = features + 3
    kwargs = dict(num_iters=num_iters, beta=0.3, affinity=affinity)
    expected = with_gradients(by_loops, [features, mixing], **kwargs)
    for form in FORMS:
        found = with_gradients(pattern_diffusion, [features, mixing], **kwargs, **form)
        for a, b in zip(found, expected):
            torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-12)


@torch.no_grad()
def test_rows_are_shares_of_similar_tokens():
    features, _ = operands()
    features[0, 1, :, 4] = -1  # resembles nobody
    shares = pattern_affinity(pattern_embedding(features))
    assert shares.min() >= 0
    torch.testing.assert_close(shares.sum(-1), torch.ones_like(shares[..., 0]))
    alone = torch.zeros(10).double()
    alone[4] = 1
    torch.testing.assert_close(shares[0, 1, 4], alone)
    # So it keeps what it has, in the linear form as well.
    mixing = torch.eye(3).double()
    for form in FORMS:
        out = pattern_diffusion(features, mixing, beta=0.5, **form)
        torch.testing.assert_close(out[0, 1, :, 4], features[0, 1, :, 4])
        assert (out[0, 1] - features[0, 1]).abs().amax(0)[[3, 5]].min() > 0


@torch.no_grad()
def test_constant_features_stay():
    features = operands()[0].abs()[..., :1].expand(-1, -1, -1, 10).contiguous()
    out = pattern_diffusion(features, operands()[1], num_iters=3, beta=0.8)
    torch.testing.assert_close(out, features)


@torch.no_grad()
def test_exponential_similarity():
    features, mixing = operands()
    embedding = pattern_embedding(features, similarity='exp')
    unit = features / features.square().sum(2, keepdim=True).sqrt()
    distance = (unit[..., :, None] - unit[..., None, :]).square().sum(2)
    expected = torch.exp(-distance)
    expected = expected / expected.sum(-1, keepdim=True)
    torch.testing.assert_close(pattern_affinity(embedding, similarity='exp'), expected)
    for rows in (None, 3):
        out = pattern_diffusion(features, mixing, beta=0.3, similarity='exp', block_rows=rows)
        mixed = torch.einsum('tu,buij->btij', mixing, expected)
        torch.testing.assert_close(out, 0.7 * features + 0.3 * features @ mixed.mT)


def test_exponential_similarity_comes_in_blocks(monkeypatch):
    monkeypatch.setattr(pattern, '_BLOCK_ENTRIES', 3 * 10 * 4)
    rows = []

    def recorded(*args, run=pattern._rows):
        rows.append(args[-1])
        return run(*args)

    monkeypatch.setattr(pattern, '_rows', recorded)
    inputs = operands()
    whole = with_gradients(pattern_diffusion, inputs, similarity='exp', impl='explicit')
    rows.clear()
    for a, b in zip(with_gradients(pattern_diffusion, inputs, similarity='exp'), whole):
        torch.testing.assert_close(a, b)
    assert rows[:3] == [slice(0, 4), slice(4, 8), slice(8, 10)] and len(rows) == 6


@torch.no_grad()
def test_released_sums_are_kept_off_zero():
    """Columns that cancel would divide by 0."""
    features = torch.ones(1, 1, 2, 4)
    features[..., 1::2] = -1
    for form in FORMS:
        out = pattern_diffusion(features, torch.ones(1, 1), affinity='released', **form)
        assert out.isfinite().all()


@pytest.mark.parametrize('form', FORMS)
@torch.no_grad()
def test_sums_are_float32_under_autocast(form):
    features, mixing = (x.float() for x in operands(tokens=500, channels=16))
    half = features.bfloat16()
    expected = pattern_diffusion(half.float(), mixing, beta=0.9, **form)
    with torch.autocast('cpu', torch.bfloat16):
        found = pattern_diffusion(half, mixing, beta=0.9, **form)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, expected.bfloat16(), atol=0, rtol=1e-2)


def test_unknown_options():
    inputs = operands()
    with pytest.raises(ValueError, match=r"affinity is 'softmax'.*'row_stochastic'"):
        pattern_diffusion(*inputs, affinity='softmax')
    with pytest.raises(ValueError, match='similarity'):
        pattern_diffusion(*inputs, similarity='cosine')
    with pytest.raises(ValueError, match='impl'):
        pattern_diffusion(*inputs, impl='factorised')
    for wrong in (dict(impl='linear'), dict(affinity='released')):
        with pytest.raises(ValueError, match='no linear form'):
            pattern_diffusion(*inputs, similarity='exp', **wrong)
