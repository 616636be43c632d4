from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmdense.engine.hooks import LoadReportHook


class Logger:
    def __init__(self):
        self.lines = []

    def info(self, line):
        self.lines.append(line)


def load(hook, weights, resume=False):
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4))
    runner = SimpleNamespace(model=model, logger=Logger(), _resume=resume)
    hook.after_load_checkpoint(runner, dict(state_dict=weights))
    return runner.logger.lines[0]


def weights_of(*sizes, prefix=''):
    model = nn.Sequential(*(nn.Linear(a, b) for a, b in sizes))
    return {prefix + k: v for k, v in model.state_dict().items()}


def test_all_keys_match_also_below_a_wrapper():
    line = load(LoadReportHook(), weights_of((2, 3), (3, 4), prefix='module.'))
    assert '4 keys matched, 0 missing' in line


def test_wrong_shape_stops_above_the_threshold_and_names_the_key():
    weights = weights_of((2, 3), (3, 5))
    with pytest.raises(ValueError, match=r'2 of wrong shape.*1\.weight.*5x3.*4x3.*max_missing'):
        load(LoadReportHook(), weights)
    assert '2 of wrong shape' in load(LoadReportHook(max_missing=0.5), weights)


def test_dropped_keys_stay_at_initialisation_but_not_on_resume():
    weights = weights_of((2, 3), (3, 4))
    assert '2 dropped' in load(LoadReportHook(drop=[r'^1\.']), weights)
    assert '1.weight' not in weights
    weights = weights_of((2, 3), (3, 4))
    assert '0 dropped' in load(LoadReportHook(drop=[r'^1\.']), weights, resume=True)
    assert torch.is_tensor(weights['1.weight'])
