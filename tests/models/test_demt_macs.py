"""Multiply-accumulate operations of DeMT, by the project's own counter, against known figures."""

import os
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmdense.apis.complexity import measure_complexity
from mmdense.models.layers import TokenAttention
from mmdense.models.necks import TaskInteraction
from mmdense.registry import MODELS
from mmdense.structures import DenseFeatures

sys.path.insert(0, str(Path(__file__).parent))
from demt_models import NYUD, PASCAL, config

slow = pytest.mark.slow
LITERAL = dict(released=True, attention='released')
#: Architecture, giga-MACs as released, and by `kv_stride` 1, 2, 4, 8 and 16.
NYUD_TABLE = {
    'w18-small': (30.7, 1869, 487, 137, 51.9, 28.6),
    'tiny': (128.6, 3805, 1027, 324, 151.7, 104.8),
    'base': (192.5, 3869, 1091, 388, 215.6, 168.7),
}
CASES = [
    pytest.param(arch, index, macs, marks=() if arch == 'w18-small' and index < 5 else slow)
    for arch, row in NYUD_TABLE.items()
    for index, macs in enumerate(row)
]


def giga_macs(cfg, shape):
    return measure_complexity(Config(dict(model=cfg)), shape)[-1].macs / 1e9


@pytest.mark.parametrize(('arch', 'index', 'macs'), CASES)
def test_at_the_size_of_nyud(arch, index, macs):
    options = dict(kv_stride=2 ** (index - 1)) if index else LITERAL
    assert giga_macs(config(arch, NYUD, **options), (425, 560)) == pytest.approx(macs, rel=0.01)


@slow
@pytest.mark.parametrize(
    ('arch', 'options', 'macs'),
    [
        ('tiny', LITERAL, 180.0),
        ('tiny', dict(kv_stride=1), 7052),
        ('tiny', dict(kv_stride=4), 549),
        ('tiny', dict(kv_stride=8), 223.7),
        ('w18-small', LITERAL, 42.4),
        ('w18-small', dict(kv_stride=1), 3478),
        ('w18-small', dict(kv_stride=4), 242),
        ('w18-small', dict(kv_stride=8), 80.1),
    ],
)
def test_at_the_size_of_pascal_context(arch, options, macs):
    assert giga_macs(config(arch, PASCAL, **options), (512, 512)) == pytest.approx(macs, rel=0.01)


def test_pixel_attention_leaves_out_what_cannot_matter():
    """Queries and keys of task interaction, that is two products of C' x C' per token."""
    literal, pixel = (
        giga_macs(config('w18-small', NYUD, **options), (425, 560))
        for options in (LITERAL, dict(released=True))
    )
    tokens, width = 4 * 107 * 140, 128
    # Scores over one picture; weighing a single value is no matrix product.
    attention = tokens * width
    assert literal - pixel == pytest.approx((2 * tokens * width**2 + attention) / 1e9, rel=1e-6)


def test_fused_attention_is_counted(monkeypatch):
    """Closed form of one attention: projections, scores, product with the values."""

    class Attend(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = TokenAttention(8, 2)

        def forward(self, inputs, mode):
            tokens = inputs.flatten(1).view(1, -1, 8)
            return self.attention.over_tokens(tokens, tokens[:, :5])

    monkeypatch.setitem(MODELS.module_dict, 'Attend', Attend)
    # Neither is the setting of the user in the way, nor lost.
    monkeypatch.setenv('MMDENSE_DEFORM_BACKEND', 'mmcv')
    row = measure_complexity(Config(dict(model=dict(type='Attend'))), (4, 8))[-1]
    queries, keys, width = 12, 5, 8
    projections = 2 * queries * width**2 + 2 * keys * width**2
    assert row.macs == projections + 2 * queries * keys * width
    assert os.environ['MMDENSE_DEFORM_BACKEND'] == 'mmcv'


def test_keys_on_a_fixed_grid_cost_in_proportion_to_pixels():
    options = dict(kv_grid=(14, 18))
    sizes = [(224, 288), (448, 576)]
    small, large = (giga_macs(config('w18-small', NYUD, **options), size) for size in sizes)
    assert 3.9 < large / small < 4.0


def test_no_score_matrix_is_stored():
    """Stored for the backward pass: less than the scores of one head would take."""
    neck = TaskInteraction(8, ['semseg', 'depth'], num_heads=1, kv_stride=1)
    tokens = 48 * 48
    stored = []
    x = torch.randn(1, 8, 48, 48)

    def note(tensor):
        stored.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        neck(DenseFeatures(shared=(x,)))
    assert max(stored) < 2 * tokens * 2 * tokens / 10
