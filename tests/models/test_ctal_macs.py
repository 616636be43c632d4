"""Multiply-accumulate operations of CTAL and its baselines against known figures."""

import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mmdense.models.losses.functional import full_precision
from mmdense.registry import MODELS

sys.path.insert(0, str(Path(__file__).parent))
from ctal_models import CITYSCAPES, NYUV2, config

#: Giga-MACs of the authors' modules on NYUv2 (288x384) and Cityscapes (128x256), initial
#: predictions included.
GIGA_MACS = {
    'mtl': (5.06, 1.35),
    'pad-net': (60.23, 7.47),
    'pap-net': (46.50, 4.49),
    'mti-net': (7.95, 1.82),
    'ctal-ss': (66.64, 8.30),
    'ctal-ms': (65.24, 7.95),
}
EXPLICIT = dict(joint_affinity='shared', affinity_impl='explicit')


def giga_macs(method, tasks, size):
    changes = EXPLICIT if method.startswith('ctal') else {}
    with torch.device('meta'):
        model = MODELS.build(config(method, tasks, grid=(size[0] // 4, size[1] // 4), **changes))
        x = torch.empty(1, 3, *size)
    model.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        feats = model.extract_feat(x)
        for head in model.heads.values():
            head(feats)
    return counter.get_total_flops() / 2e9


def saved_by_pap_net(tasks, tokens, channels=128):
    """Giga-MACs by which its form without N x N matrices is cheaper."""
    explicit = 2 * tasks * tokens**2 * channels
    return (explicit - 2 * tasks**2 * tokens * channels**2) / 1e9


@pytest.mark.parametrize(
    'method',
    [
        pytest.param(name, marks=() if name in ('mti-net', 'ctal-ss') else pytest.mark.slow)
        for name in GIGA_MACS
    ],
)
def test_at_the_size_of_cityscapes(method):
    expected = GIGA_MACS[method][1]
    if method == 'pap-net':
        expected -= saved_by_pap_net(2, 32 * 64)
    assert giga_macs(method, CITYSCAPES, (128, 256)) == pytest.approx(expected, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize('method', GIGA_MACS)
def test_at_the_size_of_nyuv2(method):
    expected = GIGA_MACS[method][0]
    if method == 'pap-net':
        expected -= saved_by_pap_net(3, 72 * 96)
    assert giga_macs(method, NYUV2, (288, 384)) == pytest.approx(expected, abs=0.01)


def test_full_precision_where_there_is_no_autocast():
    x = torch.empty(2, 3, device='meta')
    with full_precision(x):
        assert (x @ x.mT).shape == (2, 2)
