import logging
import sys
from types import ModuleType

import pytest
import torch

from mmdense.ops import DeformConv2d, backends, deform_conv2d
from mmdense.utils import MissingDependencyError

X, OFFSET, WEIGHT = torch.ones(1, 2, 3, 4), torch.zeros(1, 4, 3, 4), torch.ones(1, 2, 1, 1)


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Nothing said, nothing looked up, nothing in the environment."""
    caches = (backends.missing, backends._automatic, backends._say)
    for cached in caches:
        cached.cache_clear()
    monkeypatch.delenv(backends.VARIABLE, raising=False)
    yield
    for cached in caches:
        cached.cache_clear()


@pytest.fixture
def said(monkeypatch):
    """Lines of the log."""
    lines = []
    monkeypatch.setattr(backends, 'print_log', lambda text, **where: lines.append((text, where)))
    return lines


@pytest.fixture
def absent(monkeypatch):
    for name in ('mmcv.ops', 'torchvision.ops'):
        monkeypatch.setitem(sys.modules, name, None)


def pretend(monkeypatch, name, **members):
    """A compiled module that answers without computing."""
    module = ModuleType(name)
    for key, value in members.items():
        setattr(module, key, value)
    monkeypatch.setitem(sys.modules, name.partition('.')[0], ModuleType(name.partition('.')[0]))
    monkeypatch.setitem(sys.modules, name, module)


def test_log_says_once_which_backend_runs_and_why(said):
    for _ in range(3):
        deform_conv2d(X, OFFSET, WEIGHT)
    deform_conv2d(X, OFFSET, WEIGHT, backend='torch')
    texts = [text for text, _ in said]
    assert texts == [
        "deform_conv2d runs on backend 'torch' (the fastest form on 'cpu')",
        "deform_conv2d runs on backend 'torch' (asked for by backend argument)",
    ]
    assert all(where == {'logger': 'current', 'level': logging.INFO} for _, where in said)


def test_environment_variable_names_the_backend(monkeypatch, said):
    monkeypatch.setenv('MMDENSE_DEFORM_BACKEND', 'torch')
    deform_conv2d(X, OFFSET, WEIGHT)
    assert 'asked for by MMDENSE_DEFORM_BACKEND' in said[0][0]
    monkeypatch.setenv('MMDENSE_DEFORM_BACKEND', 'Torch')
    with pytest.raises(ValueError, match=r"'Torch' \(MMDENSE_DEFORM_BACKEND\).*'torch'"):
        deform_conv2d(X, OFFSET, WEIGHT)
    # An argument goes first.
    assert deform_conv2d(X, OFFSET, WEIGHT, backend='torch').shape == (1, 1, 3, 4)


@pytest.mark.parametrize('backend', ['mmcv', 'torchvision'])
def test_forced_backend_that_is_not_there_names_the_command(backend, absent):
    with pytest.raises(MissingDependencyError, match='pip install') as error:
        deform_conv2d(X, OFFSET, WEIGHT, backend=backend)
    wanted = {'mmcv': 'onedl-mmcv==', 'torchvision': "'torchvision==0."}[backend]
    assert wanted in str(error.value)
    assert f'{backend!r}' in str(error.value)
    with pytest.raises(MissingDependencyError, match='pip install'):
        DeformConv2d(2, 2, 1, backend=backend)


def test_cuda_takes_the_first_backend_that_serves_it(monkeypatch, absent, said):
    assert backends.choose(None, 'cuda') == 'torch'
    assert said[-1][0].startswith("deform_conv2d runs on backend 'torch' (chosen for 'cuda'; ")
    assert 'mmcv: ' in said[-1][0]
    assert 'torchvision: ' in said[-1][0]

    for version, expected in (('not available', 'torch'), ('13.0', 'mmcv')):
        backends.missing.cache_clear()
        backends._automatic.cache_clear()
        pretend(monkeypatch, 'mmcv.ops', get_compiling_cuda_version=lambda v=version: v)
        assert backends.choose(None, 'cuda') == expected
    assert said[-1][0] == "deform_conv2d runs on backend 'mmcv' (chosen for 'cuda')"


def test_operators_built_without_the_device_say_so(monkeypatch):
    pretend(monkeypatch, 'mmcv.ops', get_compiling_cuda_version=lambda: 'not available')
    with pytest.raises(MissingDependencyError, match=r"tensors on 'cuda'.*built without it.*pip"):
        backends.choose('mmcv', 'cuda')
    with pytest.raises(MissingDependencyError, match=r"tensors on 'mps'.*backend='torch'"):
        backends.choose('mmcv', 'mps')


def test_other_devices_take_the_torch_form(said):
    for device in ('cpu', 'mps', 'xpu'):
        assert backends.choose(None, device) == 'torch'
    assert len(said) == 3


def test_nothing_is_looked_up_or_said_inside_a_graph(said):
    compiled = torch.compile(deform_conv2d, backend='eager', fullgraph=True)
    compiled(X, OFFSET, WEIGHT)
    compiled(X, OFFSET, WEIGHT, backend='torch')
    deform_conv2d(X.to('meta'), OFFSET.to('meta'), WEIGHT.to('meta'))
    assert not said
