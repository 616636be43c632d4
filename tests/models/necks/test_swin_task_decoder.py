"""Task decoders and pyramids of MT-CP."""

import pytest
import torch
import torch.nn.functional as F

from mmdense.models.necks import PyramidFusion, SwinTaskDecoder
from mmdense.models.necks.pyramid_fusion import TopDownFusion
from mmdense.models.necks.swin_task_decoder import SwinStages
from mmdense.structures import DenseFeatures
from mmdense.utils import ShapeError


def window_attention(block, x, window=7):
    """Attention of an unshifted block, window by window and head by head; x is ``(H, W, C)``."""
    msa = block.attn.w_msa
    height, width, channels = x.shape
    y = F.layer_norm(x, (channels,), block.norm1.weight, block.norm1.bias)
    y = F.pad(y, (0, 0, 0, -width % window, 0, -height % window))
    q, k, v = F.linear(y, msa.qkv.weight, msa.qkv.bias).chunk(3, dim=-1)
    out = torch.zeros_like(y)
    places = torch.cartesian_prod(torch.arange(window), torch.arange(window))
    steps = places[:, None] - places[None] + window - 1
    bias = msa.relative_position_bias_table[steps[..., 0] * (2 * window - 1) + steps[..., 1]]
    dim = channels // msa.num_heads
    for top in range(0, y.shape[0], window):
        for left in range(0, y.shape[1], window):
            at = (slice(top, top + window), slice(left, left + window))
            for head in range(msa.num_heads):
                part = slice(head * dim, (head + 1) * dim)
                a, b, c = (z[at][..., part].reshape(-1, dim) for z in (q, k, v))
                weights = (a @ b.T * dim**-0.5 + bias[..., head]).softmax(-1)
                out[at][..., part] = (weights @ c).view(window, window, dim)
    return F.linear(out, msa.proj.weight, msa.proj.bias)[:height, :width]


def test_first_stage_is_window_attention_and_mlp():
    stages = SwinStages(8, (1,), (2,)).double()
    for parameter in stages.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x = torch.randn(1, 8, 9, 10).double()
    (got,) = stages(x)
    block = stages.stages[0].blocks[0]
    y = x[0].permute(1, 2, 0)
    y = y + window_attention(block, y)
    z = F.layer_norm(y, (8,), block.norm2.weight, block.norm2.bias)
    first, second = block.ffn.layers[0][0], block.ffn.layers[1]
    y = y + second(F.gelu(first(z)))
    want = F.layer_norm(y, (8,), stages.norms[0].weight, stages.norms[0].bias)
    torch.testing.assert_close(got[0].permute(1, 2, 0), want, rtol=1e-9, atol=1e-9)


def test_second_block_of_a_stage_is_shifted():
    stages = SwinStages(8, (1, 2, 1), (2, 2, 2))
    shifts = [[b.attn.shift_size for b in stage.blocks] for stage in stages.stages]
    assert shifts == [[0], [0, 3], [0]]


@pytest.mark.parametrize(
    ('size', 'expected'),
    [
        ((12, 17), [(12, 17), (6, 9), (3, 5)]),
        ((15, 20), [(15, 20), (8, 10), (4, 5)]),
    ],
)
def test_stages_halve_and_double(size, expected):
    neck = SwinTaskDecoder(8, 'ab')
    out = neck(DenseFeatures(shared=(torch.randn(2, 8, *size),)))
    for task in 'ab':
        shapes = [tuple(x.shape) for x in out.per_task[task]]
        assert shapes == [(2, c, *s) for c, s in zip(neck.channels, expected)]
    assert neck.channels == (8, 16, 32)


def test_tasks_share_no_weights():
    neck = SwinTaskDecoder(8, 'ab')
    own = [{p.data_ptr() for p in d.parameters()} for d in neck.decoders.values()]
    assert not own[0] & own[1]


def test_weights_are_truncated_normal_of_002():
    stages = SwinStages(32, (1, 2), (2, 2))
    for name, p in stages.named_parameters():
        if p.dim() == 2:
            assert 0.01 < p.std() < 0.022 and p.abs().max() <= 0.04, name


def test_pyramid_adds_from_coarse_to_fine():
    fusion = TopDownFusion((3, 4), 5).double()
    fine, coarse = torch.randn(1, 3, 5, 7).double(), torch.randn(1, 4, 3, 4).double()
    l1, l2 = (lateral(x) for lateral, x in zip(fusion.laterals, (fine, coarse)))
    rows, columns = torch.tensor([0, 0, 1, 1, 2]), torch.tensor([0, 0, 1, 1, 2, 2, 3])
    want = fusion.output(l1 + l2[..., rows, :][..., columns])
    torch.testing.assert_close(fusion((fine, coarse)), want)


def test_gates_start_as_a_plain_pyramid_and_are_trained():
    plain = PyramidFusion((4, 8, 16), 4, 'ab')
    gated = PyramidFusion((4, 8, 16), 4, 'ab', fusion_weights='softmax')
    extra = {name for name, _ in gated.named_parameters()} - set(plain.state_dict())
    assert sum(dict(gated.named_parameters())[name].numel() for name in extra) == 4 * 2
    gated.load_state_dict(plain.state_dict(), strict=False)
    maps = tuple(torch.randn(1, 4 * 2**i, 8 // 2**i, 8 // 2**i) for i in range(3))
    feats = DenseFeatures(per_task=dict(a=maps, b=maps))
    x, y = (neck(feats).per_task['a'] for neck in (plain, gated))
    torch.testing.assert_close(x[0], y[0])
    assert x[1:] == maps
    y[0].sum().backward()
    gates = gated.pyramids['a'].gates
    assert gates.grad.abs().sum() > 0
    with torch.no_grad():
        gates[:, 0] = 30.0  # the coarser levels fade away
    far = (maps[0], *(x + 1 for x in maps[1:]))
    alone = gated(DenseFeatures(per_task=dict(a=far, b=far))).per_task['a'][0]
    torch.testing.assert_close(alone, gated(feats).per_task['a'][0])


def test_what_is_refused():
    with pytest.raises(ValueError, match='num_heads'):
        SwinTaskDecoder(6, 'a', num_heads=(4, 2, 2))
    with pytest.raises(ValueError, match="'sigmoid'"):
        PyramidFusion((4,), 4, 'a', fusion_weights='sigmoid')
    with pytest.raises(ShapeError, match='9 channels'):
        SwinTaskDecoder(8, 'a')(DenseFeatures(shared=(torch.randn(1, 9, 4, 4),)))
