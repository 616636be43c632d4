"""Settings of all tests."""

import logging
import warnings

import pytest
import torch
from mmengine.logging import MMLogger


@pytest.fixture(autouse=True, scope='session')
def quiet() -> None:
    """mmengine prints every parameter when weights are initialised outside a runner."""
    warnings.filterwarnings('ignore', message='Fail to import ``MultiScaleDeformableAttention``')
    MMLogger.get_instance('mmengine', log_level=logging.ERROR)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Random tensors are the same in every run."""
    torch.manual_seed(0)
