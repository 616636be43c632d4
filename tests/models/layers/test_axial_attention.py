import pytest
import torch
import torch.nn.functional as F

from mmdense.models.layers import AxialAttention, BNSettings
from mmdense.models.layers.axial_attention import (
    offsets_to_pairs,
    pairs_to_offsets,
    relative_matrix,
    relative_rows,
)


def randomise(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Draw every parameter and running statistic, so that no term is trivially zero or one."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in module.parameters():
        tensor.data = 0.5 * torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)
    for name, tensor in module.named_buffers():
        if name.endswith('running_mean'):
            tensor.copy_(0.3 * torch.randn(tensor.shape, generator=generator))
        if name.endswith('running_var'):
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return module


def attention(axis: int, span: int, fast: bool | None) -> AxialAttention:
    torch.manual_seed(0)
    module = AxialAttention(6, 4, 8, axis, num_heads=2, max_span=span, fast=fast)
    return randomise(module).double().eval()


def batch_norm(x, norm):
    shape = (1, -1) + (1,) * (x.ndim - 2)
    mean, var = norm.running_mean.view(shape), norm.running_var.view(shape)
    return (x - mean) / (var + norm.eps).sqrt() * norm.weight.view(shape) + norm.bias.view(shape)


def by_loops(module: AxialAttention, x: torch.Tensor, span: int) -> torch.Tensor:
    """One scalar at a time, on lines ``(N, C, L)``, from the definition."""
    heads, (dk, _, dv) = 2, (4, 4, 8)
    count, _, length = x.shape
    weight = module.qkv.conv.weight[:, :, 0, 0]
    qkv = batch_norm(torch.einsum('oc,ncl->nol', weight, x), module.qkv.bn)
    q, k, v = qkv[:, :dk], qkv[:, dk : 2 * dk], qkv[:, 2 * dk :]
    ck, cv = dk // heads, dv // heads
    logits = torch.zeros(count, 3 * heads, length, length, dtype=x.dtype)
    row = [[min(max(m - lq, 1 - span), span - 1) + span - 1 for m in range(length)]
           for lq in range(length)]  # fmt: skip
    for n in range(count):
        for h in range(heads):
            for lq in range(length):
                for m in range(length):
                    query = q[n, h * ck : (h + 1) * ck, lq]
                    key = k[n, h * ck : (h + 1) * ck, m]
                    logits[n, h, lq, m] = (query * key).sum()
                    logits[n, heads + h, lq, m] = (query * module.query_table[row[lq][m]]).sum()
                    logits[n, 2 * heads + h, lq, m] = (key * module.key_table[row[lq][m]]).sum()
    logits = batch_norm(logits, module.similarity_bn)
    out = torch.zeros(count, 2 * dv, length, dtype=x.dtype)
    for n in range(count):
        for h in range(heads):
            total = logits[n, h] + logits[n, heads + h] + logits[n, 2 * heads + h]
            for lq in range(length):
                share = (total[lq] - total[lq].max()).exp()
                share = share / share.sum()
                for m in range(length):
                    c = slice(h * cv, (h + 1) * cv)
                    out[n, c, lq] += share[m] * v[n, c, m]
                    c = slice(dv + h * cv, dv + (h + 1) * cv)
                    out[n, c, lq] += share[m] * module.value_table[row[lq][m]]
    out = batch_norm(out, module.output_bn)
    return out[:, :dv] + out[:, dv:]


@pytest.mark.parametrize('fast', [False, True])
@pytest.mark.parametrize('axis', [2, 3])
@pytest.mark.parametrize('span', [5, 3])  # 3: lengths beyond the table, indices are clipped
@torch.no_grad()
def test_equals_explicit_loops(axis, span, fast):
    module = attention(axis, span, fast)
    x = torch.randn(2, 6, 4, 5, dtype=torch.float64)
    got = module(x)
    lines = x.permute(0, 3, 1, 2) if axis == 2 else x.permute(0, 2, 1, 3)
    expected = by_loops(module, lines.flatten(0, 1), span).unflatten(0, lines.shape[:2])
    expected = expected.permute(0, 2, 3, 1) if axis == 2 else expected.permute(0, 2, 1, 3)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(('dtype', 'tol'), [(torch.float64, 1e-11), (torch.float32, 2e-5)])
@pytest.mark.parametrize('size', [(1, 1), (1, 7), (2, 9), (16, 11)])
@torch.no_grad()
def test_fast_form_equals_plain_form(size, dtype, tol):
    for axis in (2, 3):
        module = attention(axis, 6, None).to(dtype)
        x = torch.randn(2, 6, *size, dtype=dtype)
        module.fast = False
        plain = module(x)
        module.fast = None
        torch.testing.assert_close(module(x), plain, rtol=tol, atol=tol)


def test_fast_form_only_without_gradients_unless_asked():
    module = attention(2, 6, None)
    assert not module._use_fast()
    with torch.no_grad():
        assert module._use_fast()
        module.train()
        assert not module._use_fast()
    module.eval().fast = True
    assert module._use_fast()


def test_pairs_and_offsets_are_inverse():
    for length in (1, 2, 5):
        x = torch.randn(3, length, length)
        spread = pairs_to_offsets(x)
        assert spread.shape == (3, length, 2 * length - 1)
        assert torch.equal(offsets_to_pairs(spread), x)
        for lq in range(length):
            assert torch.equal(spread[:, lq, length - 1 - lq : 2 * length - 1 - lq], x[:, lq])


def test_relative_rows_clip_beyond_the_span():
    table = torch.arange(5.0)[:, None]  # span 3: offsets -2..2
    assert relative_rows(table, 2).flatten().tolist() == [1, 2, 3]
    assert relative_rows(table, 5).flatten().tolist() == [0, 0, 0, 1, 2, 3, 4, 4, 4]
    index = torch.arange(300)[None] - torch.arange(300)[:, None] + 254
    table = torch.randn(509, 2)
    assert torch.equal(relative_matrix(table, 300), table[index.clamp(0, 508)])


def test_training_normalises_all_lines_together():
    module = attention(3, 6, None).train()
    x = torch.randn(2, 6, 3, 4, dtype=torch.float64)
    module.output_bn.weight.data.fill_(1)
    module.output_bn.bias.data.zero_()
    seen = []
    module.output_bn.register_forward_hook(lambda _m, _i, out: seen.append(out))
    module(x).sum().backward()
    torch.testing.assert_close(seen[0].mean((0, 2, 3)), torch.zeros(16, dtype=torch.float64))
    assert all(p.grad is not None for p in module.parameters())


def test_clipped_rows_collect_the_gradient_of_far_pairs():
    table = torch.zeros(3, 1, requires_grad=True)  # span 2
    relative_matrix(table, 4).sum().backward()
    assert table.grad.flatten().tolist() == [6, 4, 6]


def test_state_holds_no_index_buffers():
    module = AxialAttention(6, 4, 8, 2, num_heads=2)
    before = [name for name, _ in module.named_buffers()]
    module(torch.randn(1, 6, 7, 3))
    assert [name for name, _ in module.named_buffers()] == before
    assert module.query_table.shape == (509, 2) and module.value_table.shape == (509, 4)


def test_wrong_settings_say_what_to_change():
    with pytest.raises(ValueError, match='num_heads=3 must divide key_channels=4'):
        AxialAttention(6, 4, 8, 2, num_heads=3)
    with pytest.raises(ValueError, match=r'axis=1, expected 2 \(height\) or 3'):
        AxialAttention(6, 4, 8, 1, num_heads=2)


def test_bf16_autocast_keeps_the_similarity_in_float32():
    module = AxialAttention(16, 8, 16, 2, num_heads=2, bn=BNSettings()).eval()
    seen = []
    module.similarity_bn.register_forward_hook(lambda _m, i, _o: seen.append(i[0].dtype))
    x = torch.randn(1, 16, 6, 4)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        low = module(x)
    assert seen == [torch.float32]
    assert F.cosine_similarity(low.float().flatten(), module(x).flatten(), dim=0) > 0.99
