"""Settings of all tests."""

import gc
import logging
import warnings
from collections.abc import Iterator

import pytest
import torch
from hypothesis import HealthCheck, settings
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope

# No test is about time: a machine that does other work as well must not fail one.
settings.register_profile('mmdense', deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile('mmdense')


@pytest.fixture(autouse=True, scope='session')
def quiet() -> None:
    """mmengine prints every parameter when weights are initialised outside a runner."""
    warnings.filterwarnings('ignore', message='Fail to import ``MultiScaleDeformableAttention``')
    MMLogger.get_instance('mmengine', log_level=logging.ERROR)


@pytest.fixture(autouse=True, scope='session')
def quick() -> Iterator[None]:
    """Two costs that no test is about: half the time of a test that builds a data set or a run."""
    # mmengine lays every dumped config out with yapf, a second each.
    patch = pytest.MonkeyPatch()
    patch.setattr('yapf.yapflib.yapf_api.FormatCode', lambda text, **_: (text, False))
    # It also collects garbage for every data set, and looks at all that torch has imported.
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
    patch.undo()


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Random tensors are the same in every run."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def own_run() -> Iterator[None]:
    """A test sees no run of another one: neither its default scope nor its iteration."""
    kept = [(kind, dict(kind._instance_dict)) for kind in (DefaultScope, MessageHub)]
    for kind, _ in kept:
        kind._instance_dict.clear()
    yield
    for kind, instances in kept:
        kind._instance_dict.clear()
        kind._instance_dict.update(instances)
