"""Coherence fusion of MT-CP against its equations, form by form."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from mmdense.models.layers import CBAM
from mmdense.models.necks import CoherenceFusion
from mmdense.models.necks.coherence_fusion import cosine_distance
from mmdense.models.necks.functional import coherence_attention
from mmdense.structures import DenseFeatures
from mmdense.utils import ShapeError

FORMS = ('direct', 'chunked', 'fused', 'auto')


def operands(batch=2, a=6, c=4, rows=35, keys=20, dtype=torch.float64):
    shapes = (batch, a, rows), (batch, a, keys), (batch, c, keys)
    return [torch.randn(shape, dtype=dtype).requires_grad_() for shape in shapes]


def gated_norm(sequence, x):
    """CBAM, batch statistics, and a ReLU where there is one, written out."""
    cbam, norm = sequence[0], sequence[1]
    first, _, second = cbam.channel_gate
    vectors = (x.mean((2, 3)), x.flatten(2).max(dim=2).values)
    mlp = [
        F.linear(F.linear(v, first.weight, first.bias).relu(), second.weight, second.bias)
        for v in vectors
    ]
    x = x * torch.sigmoid(mlp[0] + mlp[1])[..., None, None]
    conv, gate_norm = cbam.spatial_gate
    pooled = torch.stack((x.max(dim=1).values, x.mean(dim=1)), dim=1)
    gate = F.batch_norm(
        F.conv2d(pooled, conv.weight, padding=3), None, None, gate_norm.weight, gate_norm.bias, True
    )
    x = F.batch_norm(x * gate.sigmoid(), None, None, norm.weight, norm.bias, True)
    return x.relu() if len(sequence) == 3 else x


def by_the_equations(neck, maps):
    """Outputs of all tasks and the mean cosine distance, one task and one group at a time."""
    out, distances = [], []
    for index, fusion in enumerate(neck.fusions.values()):
        g = gated_norm(fusion.main, maps[index])
        others = [x for i, x in enumerate(maps) if i != index]
        gated = [torch.sigmoid(gate(x)) * x for gate, x in zip(fusion.gates, others)]
        u = F.relu(F.conv2d(torch.cat(gated, 1), fusion.mix.weight, fusion.mix.bias))
        theta, phi = gated_norm(fusion.theta, u), gated_norm(fusion.phi, u)
        scores = torch.einsum('bcl,bcm->blm', theta.flatten(2), phi.flatten(2))
        mixed = torch.einsum('blm,bcm->bcl', scores.softmax(-1), g.flatten(2))
        out.append(gated_norm(fusion.out, mixed.view_as(g)))
        for part in theta.split(g.shape[1], dim=1):
            distances.append(1 - F.cosine_similarity(g, part, dim=1).mean())
    return out, torch.stack(distances).mean()


@pytest.mark.parametrize('form', FORMS[1:])
def test_forms_of_the_attention_agree(form):
    ops = operands()
    results = []
    for impl in ('direct', form):
        out = coherence_attention(*ops, scale=0.7, impl=impl, chunk_rows=8)
        results.append([out, *torch.autograd.grad(out.sin().sum(), ops)])
    for got, want in zip(*results):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-9)


def test_attention_is_a_weighted_average_per_pixel():
    theta, phi, main = (x.detach() for x in operands(batch=1, rows=3, keys=4))
    out = coherence_attention(theta, phi, main, impl='auto')
    for i in range(3):
        weights = torch.tensor([float(theta[0, :, i] @ phi[0, :, j]) for j in range(4)]).softmax(0)
        expected = sum(w * main[0, :, j] for j, w in enumerate(weights))
        torch.testing.assert_close(out[0, :, i], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize('form', FORMS)
def test_a_constant_on_all_scores_of_a_row_changes_nothing(form):
    theta, phi, main = (x.detach() for x in operands())
    before = coherence_attention(theta, phi, main, impl=form)
    # One more channel: a number per row against ones.
    shifted = torch.cat((theta, 50 * torch.randn(2, 1, 35).double()), dim=1)
    ones = torch.cat((phi, torch.ones(2, 1, 20).double()), dim=1)
    after = coherence_attention(shifted, ones, main, impl=form)
    torch.testing.assert_close(after, before, rtol=1e-6, atol=1e-9)


def test_the_kernel_of_the_cpu_takes_the_operands():
    """Otherwise PyTorch silently stores every score."""
    called = []

    class Spy(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            called.append(str(func))
            return func(*args, **(kwargs or {}))

    with Spy():
        coherence_attention(*operands(dtype=torch.float32))
    assert any('scaled_dot_product_flash_attention_for_cpu' in name for name in called)
    assert not any('softmax' in name for name in called)


@pytest.mark.parametrize('form', FORMS)
def test_large_scores_stay_exact_under_autocast(form):
    """Scores of 1e3 in bfloat16 would be 4 to 8 apart."""
    theta, phi, main = (x.detach().float() for x in operands(a=64, c=64))
    theta = theta * 20
    expected = coherence_attention(theta.double(), phi.double(), main.double(), impl='direct')
    with torch.autocast('cpu', torch.bfloat16):
        got = coherence_attention(theta, phi, main, impl=form)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, expected.float(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('tasks', ['ab', 'abc', 'abcd'])
def test_neck_follows_the_equations(tasks):
    neck = CoherenceFusion(4, tasks, loss_cos=0.5).double().train()
    assert all(f.width == 4 * (len(tasks) - 1) for f in neck.fusions.values())
    maps = [torch.randn(2, 4, 5, 6).double() for _ in tasks]
    rest = torch.randn(2, 8, 3, 3).double()
    feats = neck(DenseFeatures(per_task={t: (x, rest) for t, x in zip(tasks, maps)}))
    expected, distance = by_the_equations(neck, maps)
    for task, want in zip(tasks, expected):
        torch.testing.assert_close(feats.per_task[task][0], want, rtol=1e-8, atol=1e-8)
        assert feats.per_task[task][1] is rest
    torch.testing.assert_close(feats.losses['loss_cos'], 0.5 * distance, rtol=1e-7, atol=0)


def test_cosine_distance_of_zero_vectors_is_one_with_finite_gradients():
    x, y = torch.zeros(1, 3, 4, requires_grad=True), torch.zeros(1, 6, 4, requires_grad=True)
    value = cosine_distance(x, y)
    value.backward()
    assert value == 1 and x.grad.isfinite().all() and y.grad.isfinite().all()


@pytest.mark.parametrize('options', [dict(loss_cos=0.0), dict(supervised=False)])
def test_cosine_term_is_absent(options):
    neck = CoherenceFusion(4, 'ab', loss_cos=options.pop('loss_cos', 0.01))
    feats = DenseFeatures(per_task={t: torch.randn(2, 4, 5, 6) for t in 'ab'}, **options)
    assert not neck(feats).losses


@pytest.mark.parametrize('form', FORMS)
def test_gradients_of_a_batch_are_the_mean_of_those_of_its_pictures(form):
    """A batch of one in another memory layout had wrong gradients of the batch norms."""
    neck = CoherenceFusion(16, 'abc', attention=form).double().eval()
    maps = {t: torch.randn(2, 16, 12, 17).double() for t in 'abc'}
    grads = []
    for pictures in (slice(0, 2), slice(0, 1), slice(1, 2)):
        feats = neck(DenseFeatures(per_task={t: x[pictures] for t, x in maps.items()}))
        total = sum(x[0].sin().mean() for x in feats.per_task.values())
        grads.append(torch.autograd.grad(total, [f.out[1].bias for f in neck.fusions.values()]))
    for both, first, second in zip(*grads):
        torch.testing.assert_close(both, (first + second) / 2, rtol=1e-9, atol=1e-12)


def test_recomputation_changes_neither_numbers_nor_statistics():
    plain = CoherenceFusion(4, 'abc').double()
    again = copy.deepcopy(plain)
    again.with_cp = True
    maps = {t: torch.randn(2, 4, 5, 6).double().requires_grad_() for t in 'abc'}
    results = []
    for neck in (plain, again):
        feats = neck(DenseFeatures(per_task=maps))
        total = sum(x[0].sin().sum() for x in feats.per_task.values()) + feats.losses['loss_cos']
        grads = torch.autograd.grad(total, [*maps.values(), *neck.parameters()])
        results.append([*grads, *neck.buffers()])
    for got, want in zip(*results):
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-12)


def test_options_of_the_attention():
    maps = {t: torch.randn(1, 4, 5, 7) for t in 'abc'}
    neck = CoherenceFusion(4, 'abc', attn_scale='rsqrt').eval()
    assert neck.scale == 8**-0.5
    full = neck(DenseFeatures(per_task=maps)).per_task['a'][0]
    neck.kv_stride = 2
    pooled = neck(DenseFeatures(per_task=maps)).per_task['a'][0]
    assert pooled.shape == full.shape and not torch.allclose(pooled, full)


def test_pooled_keys_are_means_over_cells():
    """Against pooling both by hand; cells at the border are smaller."""
    neck = CoherenceFusion(4, 'ab', kv_stride=2).eval()
    maps = {t: torch.randn(1, 4, 5, 7) for t in 'ab'}
    fusion = neck.fusions['a']
    g, theta, phi = fusion(maps['a'], maps['b'])
    small = [
        F.adaptive_avg_pool2d(F.pad(x, (0, 1, 0, 1), mode='replicate'), (3, 4)) for x in (g, phi)
    ]
    mixed = coherence_attention(theta.flatten(2), small[1].flatten(2), small[0].flatten(2))
    want = fusion.out(mixed.view(1, 4, 5, 7))
    torch.testing.assert_close(neck(DenseFeatures(per_task=maps)).per_task['a'][0], want)


def test_channel_gate_has_at_least_one_hidden_unit():
    assert CBAM(8).channel_gate[0].out_features == 1
    assert (
        isinstance(CBAM(48).channel_gate[0], nn.Linear)
        and CBAM(48).channel_gate[0].out_features == 3
    )


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(tasks='a'), 'two tasks or more'),
        (dict(tasks='ab', attention='flash'), "attention is 'flash'"),
        (dict(tasks='ab', attn_scale='sqrt'), "give a number or 'rsqrt'"),
        (dict(tasks='ab', kv_stride=0), 'kv_stride=0'),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        CoherenceFusion(4, **options)


def test_operands_that_do_not_fit():
    with pytest.raises(ShapeError, match=r'expected \(B, A, L\)'):
        coherence_attention(torch.randn(1, 3, 4), torch.randn(1, 2, 4), torch.randn(1, 3, 4))
