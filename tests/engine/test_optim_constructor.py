import pytest
import torch
from torch import nn

from mmdense.engine.optim_wrappers import PatternOptimWrapperConstructor


def build(**paramwise):
    model = nn.Sequential()
    model.backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    model.head = nn.Module()
    model.head.weight = nn.Parameter(torch.zeros(2, 2))
    model.head.queries = nn.Parameter(torch.zeros(5, 2))
    constructor = PatternOptimWrapperConstructor(
        dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1.0, weight_decay=0.5)), paramwise
    )
    wrapper = constructor(model)
    named = {id(p): n for n, p in model.named_parameters()}
    found = {}
    for group in wrapper.optimizer.param_groups:
        for param in group['params']:
            found[named[id(param)]] = (group['lr'], group['weight_decay'])
    return found


def test_rate_and_decay_are_independent():
    found = build(lr_mult={r'^backbone\.': 0.1}, no_decay=['queries'])
    assert found['backbone.0.weight'] == (0.1, 0.5)
    assert found['backbone.0.bias'] == (0.1, 0.0)
    assert found['backbone.1.weight'] == (0.1, 0.0)
    assert found['head.weight'] == (1.0, 0.5)
    assert found['head.queries'] == (1.0, 0.0)


def test_pattern_without_a_match_is_an_error():
    with pytest.raises(ValueError, match='quries'):
        build(no_decay=['quries'])
    with pytest.raises(KeyError, match="Did you mean 'lr_mult'"):
        build(lr_multi={})
