"""Exact numbers of trainable parameters of CTAL and its baselines, built on the meta device."""

import sys
from pathlib import Path

import pytest
import torch

from mmdense.models.heads import ASPPHead
from mmdense.registry import MODELS
from mmdense.tasks import build_tasks

sys.path.insert(0, str(Path(__file__).parent))
from ctal_models import CITYSCAPES, NYUV2, config
from demt_models import PASCAL

TOTALS = {
    'mtl': (4_086_457, 4_013_560),
    'pad-net': (12_077_440, 7_008_262),
    'pap-net': (4_780_425, 4_501_770),
    'mti-net': (12_638_901, 8_566_734),
    'ctal-ss': (6_057_216, 5_262_854),
    'ctal-ms': (11_149_783, 8_474_086),
}
SHARED = dict(joint_affinity='shared')


def count(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())


def build(method, tasks=NYUV2, **kwargs):
    with torch.device('meta'):
        return MODELS.build(config(method, tasks, **kwargs))


@pytest.mark.parametrize('method', TOTALS)
def test_totals(method):
    released = SHARED if method.startswith('ctal') else {}
    models = (build(method, **released), build(method, CITYSCAPES, grid=(32, 64), **released))
    assert (count(models[0]), count(models[1])) == TOTALS[method]


@pytest.mark.parametrize(('tasks', 'total'), [(NYUV2, 11_807_897), (CITYSCAPES, 7_874_280)])
def test_single_task_models_together(tasks, total):
    models = [build('mtl', {key: cfg}) for key, cfg in tasks.items()]
    assert count(*models) == total


@pytest.mark.parametrize('method', ['ctal-ss', 'ctal-ms'])
def test_a_joint_affinity_per_task(method):
    assert count(build(method)) == TOTALS[method][0] + 387_072


def test_parts_of_pad_net():
    model = build('pad-net')
    parts = [count(part) for part in (model.backbone, *model.neck, model.heads)]
    assert parts == [3_860_720, 73_710, 638_353, 7_077_888, 426_769]


def test_parts_of_ctal():
    single, multiple = (build(method, **SHARED) for method in ('ctal-ss', 'ctal-ms'))
    assert count(single.neck[2]) == 1_375_488 and count(multiple.neck[2]) == 1_380_864
    assert count(multiple.neck[1]) == 221_130 and multiple.neck[1].channels == (270,)
    assert count(single.heads) == count(multiple.heads) == 108_945


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


@pytest.mark.parametrize(('channels', 'millions'), [(128, 9.4), (256, 14.1), (768, 33.1)])
def test_deeplab_heads_of_five_tasks(channels, millions):
    with torch.device('meta'):
        heads = [ASPPHead(task, channels) for task in build_tasks(PASCAL).values()]
    pyramid = 2 * (channels * 256 + 512) + 3 * (9 * channels * 256 + 512) + 5 * 256 * 256 + 512
    assert count(*heads) == 5 * (pyramid + 9 * 256 * 256 + 512) + 257 * (21 + 7 + 2 + 3 + 1)
    assert round(count(*heads) / 1e6, 1) == millions
