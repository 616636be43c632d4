import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmdense.engine import optim_wrappers
from mmdense.engine.hooks import GradientDiagnosticsHook
from mmdense.models import balancers
from mmdense.registry import BALANCERS, HOOKS, OPTIM_WRAPPERS

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / 'docs/balancing.md').read_text()
SNIPPETS = re.findall(r'```python\n(.*?)```', PAGE, re.S)


def test_settings_of_the_page_build():
    model, wrapper, hooks = (Config.fromstring(text, '.py') for text in SNIPPETS[:3])
    assert BALANCERS.build(dict(model.model.balancer, tasks=['a', 'b']))
    layer = torch.nn.Linear(1, 1)
    optimizer = torch.optim.AdamW(layer.parameters(), wrapper.optim_wrapper.optimizer.lr)
    built = OPTIM_WRAPPERS.build(dict(wrapper.optim_wrapper, optimizer=optimizer))
    assert isinstance(built, optim_wrappers.JacobianOptimWrapper)
    assert isinstance(HOOKS.build(hooks.custom_hooks[0]), GradientDiagnosticsHook)


def test_balancer_of_the_page_trains_the_worst_task():
    scope = {}
    # Who ran the page before may have left its class there.
    BALANCERS.module_dict.pop('WorstTask', None)
    exec(SNIPPETS[-1], scope)
    try:
        losses = {k: torch.tensor(v, requires_grad=True) for k, v in (('a', 1.0), ('b', 2.0))}
        total, _ = BALANCERS.build(dict(type='WorstTask'))(losses)
        total.backward()
        assert (total.item(), losses['a'].grad, losses['b'].grad) == (2.0, 0.0, 1.0)
    finally:
        BALANCERS.module_dict.pop('WorstTask')


def test_page_names_every_balancer_and_aggregator():
    assert len(SNIPPETS) == 4
    for name, kind in vars(balancers).items():
        if isinstance(kind, type) and issubclass(kind, balancers.BaseBalancer):
            assert name == 'BaseBalancer' or f'`{name}' in PAGE, name
    torchjd = pytest.importorskip('torchjd.aggregation')
    for name in [*vars(torchjd), 'GradNorm', 'DBMTL', 'MoCo']:
        kind = getattr(torchjd, name, torchjd.Aggregator)
        own = isinstance(kind, type) and issubclass(kind, torchjd.Aggregator)
        if own and not name.endswith('Aggregator'):
            assert f'`{name}' in PAGE, name
