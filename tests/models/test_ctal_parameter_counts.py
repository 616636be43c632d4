"""Exact numbers of trainable parameters of CTAL's baselines, built on the meta device."""

import sys
from pathlib import Path

import pytest
import torch

from mmdense.models.heads import ASPPHead
from mmdense.models.necks import HRFusion
from mmdense.registry import MODELS
from mmdense.tasks import build_tasks

sys.path.insert(0, str(Path(__file__).parent))
from ctal_models import CITYSCAPES, LEVELS, NYUV2, config
from demt_models import PASCAL

TOTALS = {
    'mtl': (4_086_457, 4_013_560),
    'pad-net': (12_077_440, 7_008_262),
    'mti-net': (12_638_901, 8_566_734),
}


def count(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())


def build(method, tasks=NYUV2, **kwargs):
    with torch.device('meta'):
        return MODELS.build(config(method, tasks, **kwargs))


@pytest.mark.parametrize('method', TOTALS)
def test_totals(method):
    assert (count(build(method)), count(build(method, CITYSCAPES))) == TOTALS[method]


@pytest.mark.parametrize(('tasks', 'total'), [(NYUV2, 11_807_897), (CITYSCAPES, 7_874_280)])
def test_single_task_models_together(tasks, total):
    models = [build('mtl', {key: cfg}) for key, cfg in tasks.items()]
    assert count(*models) == total


def test_parts_of_pad_net():
    model = build('pad-net')
    parts = [count(part) for part in (model.backbone, *model.neck, model.heads)]
    assert parts == [3_860_720, 73_710, 638_353, 7_077_888, 426_769]


def test_residual_heads_of_ctal():
    with torch.device('meta'):
        cfg = dict(type='ResidualHead', in_channels=128)
        heads = [
            MODELS.build(cfg, default_args=dict(task=task)) for task in build_tasks(NYUV2).values()
        ]
    assert count(*heads) == 108_945


@pytest.mark.parametrize('fpm_softmax', ['tasks', 'released'])
def test_parts_of_mti_net(fpm_softmax):
    model = build('mti-net', fpm_softmax=fpm_softmax)
    initial, distillation = model.neck
    assert [count(part) for part in initial.propagations] == [103_443, 412_356, 1_647_459]
    scales = [count(level) for level in initial.levels]
    assert scales == [56_267, 223_325, 889_865, 2_245_409]
    levels = [count(level) for level in distillation.levels]
    assert levels == [34_992, 139_968, 559_872, 2_239_488]
    assert count(model.heads) == 225_737


def test_fusion_of_each_task_of_multi_scale_ctal():
    with torch.device('meta'):
        neck = HRFusion(LEVELS, list(NYUV2), per_task=True)
    assert count(neck) == 221_130 and neck.channels == (270,)


@pytest.mark.parametrize(('channels', 'millions'), [(128, 9.4), (256, 14.1), (768, 33.1)])
def test_deeplab_heads_of_five_tasks(channels, millions):
    with torch.device('meta'):
        heads = [ASPPHead(task, channels) for task in build_tasks(PASCAL).values()]
    pyramid = 2 * (channels * 256 + 512) + 3 * (9 * channels * 256 + 512) + 5 * 256 * 256 + 512
    assert count(*heads) == 5 * (pyramid + 9 * 256 * 256 + 512) + 257 * (21 + 7 + 2 + 3 + 1)
    assert round(count(*heads) / 1e6, 1) == millions
