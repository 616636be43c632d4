"""Exact numbers of trainable parameters of DeMT, built on the meta device."""

import sys
from pathlib import Path

import pytest
import torch

from mmdense.models.necks import DeMTNeck
from mmdense.registry import MODELS

sys.path.insert(0, str(Path(__file__).parent))
from demt_models import LEVELS, NYUD, PASCAL, TOTALS, config


def count(module):
    return sum(p.numel() for p in module.parameters())


def build(arch, tasks=NYUD, **kwargs):
    with torch.device('meta'):
        model = MODELS.build(config(arch, tasks, **kwargs))
    assert model.backbone.channels == LEVELS[arch] and model.backbone.strides == (4, 8, 16, 32)
    return model


@pytest.mark.parametrize('offset_mode', ['absolute', 'content'])
@pytest.mark.parametrize('arch', LEVELS)
def test_totals_of_the_released_form(arch, offset_mode):
    model = build(arch, released=True, offset_mode=offset_mode)
    assert count(model) == TOTALS[arch][1]


@pytest.mark.parametrize('arch', ['w18-small', 'tiny'])
def test_totals_with_the_tasks_of_pascal_context(arch):
    assert count(build(arch, PASCAL, released=True)) == TOTALS[arch][2]


@pytest.mark.parametrize(('arch', 'total'), [('w18-small', 4_767_318), ('tiny', 32_077_235)])
def test_the_layer_norms_of_the_paper_are_what_the_default_has_more(arch, total):
    """One for task interaction, two per task for task query, and the wider one of Eq. (1)."""
    width, levels, tasks = TOTALS[arch][0], sum(LEVELS[arch]), 4
    assert count(build(arch)) == total
    more = 2 * width + tasks * 4 * width + 2 * (levels - width)
    assert total == TOTALS[arch][1] + more


def test_parts_as_published():
    model = build('tiny', released=True)
    neck = model.neck[0]
    parts = [
        sum(count(head.convs) for head in model.heads.values()),
        sum(count(block.attention) for block in neck.query.queries.values()),
        count(neck.mixer),
        count(neck.reduction),
        sum(count(block.smlp) for block in neck.query.queries.values()),
        count(neck.interaction.attention),
        count(neck.interaction.smlp),
        sum(count(head.predictor) for head in model.heads.values()),
    ]
    assert parts == [1_660_320, 1_052_672, 864_328, 369_408, 265_216, 263_168, 66_304, 8_145]
    assert sum(parts) == 4_549_561 == count(model) - count(model.backbone)


def test_depth_steps():
    with torch.device('meta'):
        totals = [
            count(DeMTNeck(LEVELS['tiny'], 256, list(NYUD), released=True, depth=depth))
            for depth in (1, 2, 4, 8)
        ]
    steps = [total - totals[0] for total in totals]
    assert steps == [0, 864_328, 3 * 864_328, 7 * 864_328]
    assert [round((32_070_259 + step) / 1e6, 2) for step in steps] == [32.07, 32.93, 34.66, 38.12]


def test_a_direct_offset_convolution_is_not_what_was_published():
    model = build('tiny', released=True, offset_mode='direct', offset_groups=256)
    assert round(count(model) / 1e6, 2) == 36.46
