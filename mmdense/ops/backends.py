"""Which implementation of an operator runs, and why."""

from __future__ import annotations

import os
from functools import cache
from logging import INFO
from types import ModuleType

import torch
from mmengine.logging import print_log

from mmdense.utils.doctor import ThisMachine, matching_requirement, ops_command
from mmdense.utils.errors import MissingDependencyError, suggest
from mmdense.utils.lazy import require

BACKENDS = ('mmcv', 'torchvision', 'torch')
VARIABLE = 'MMDENSE_DEFORM_BACKEND'
# Automatic choice by type of device, first that is there; other types take the torch form. On the
# CPU that was 1.7 to 2.7 times as fast as mmcv's operator forward, and 3.4 to 7.7 times with the
# backward pass (1x1 and 3x3 kernels, 1 to 256 offset groups, one thread; measured by
# tools/analysis_tools/deform_benchmark.py).
AUTOMATIC = {'cuda': ('mmcv', 'torchvision', 'torch')}


def build_command(backend: str) -> str:
    """The command that makes a backend available."""
    if backend == 'mmcv':
        return ops_command(ThisMachine())
    requirement = matching_requirement('torchvision', torch.__version__)
    return f'pip install --force-reinstall --no-deps {requirement}'


def load(backend: str, device_type: str) -> ModuleType:
    """The module of a compiled backend, for tensors on such a device.

    Raises:
        MissingDependencyError: If it does not load, or was built without that device. The
            text names the command that mends it.
    """
    asked_by = f'deform_conv2d(backend={backend!r})'
    module = require(f'{backend}.ops', asked_by, build_command(backend))
    if not _serves(backend, device_type):
        raise MissingDependencyError(
            f'{asked_by} got tensors on {device_type!r}, but the operators of `{backend}` here '
            f'were built without it. Build them where that device is: '
            f"`{build_command(backend)}`, or set backend='torch'."
        )
    return module


def _serves(backend: str, device_type: str) -> bool:
    if device_type == 'cpu':
        return True
    if device_type != 'cuda':
        return False
    if backend == 'mmcv':
        module = require('mmcv.ops', 'deform_conv2d', build_command('mmcv'))
        return str(module.get_compiling_cuda_version()) != 'not available'
    return int(torch.ops.torchvision._cuda_version()) > 0


@cache
def missing(backend: str, device_type: str) -> str | None:
    """Why a backend cannot run on such a device, or None where it can."""
    if backend == 'torch':
        return None
    try:
        load(backend, device_type)
    except MissingDependencyError as error:
        return _first_cause(error)
    return None


def _first_cause(error: BaseException) -> str:
    cause = error.__cause__
    return f'{cause}' if cause is not None else 'built without this device'


def choose(asked: str | None, device_type: str) -> str:
    """Name the backend to run, and say so in the log once per process and reason.

    Args:
        asked (str | None): Name given by the caller. None asks the environment variable
            ``MMDENSE_DEFORM_BACKEND`` and then chooses by device.
        device_type (str): Such as ``'cuda'``.

    Raises:
        ValueError: If the name is unknown.
        MissingDependencyError: If the backend was asked for and cannot run there.
    """
    source = 'backend argument' if asked else VARIABLE
    name = asked or os.environ.get(VARIABLE) or None
    if name is None:
        name, reason = _automatic(device_type)
        _say(name, reason)
        return name
    if name not in BACKENDS:
        raise ValueError(
            f'deform_conv2d: unknown backend {name!r} ({source}). {suggest(name, BACKENDS)}'
        )
    if name != 'torch':
        load(name, device_type)
    _say(name, f'asked for by {source}')
    return name


@cache
def _automatic(device_type: str) -> tuple[str, str]:
    if device_type not in AUTOMATIC:
        return 'torch', f'the fastest form on {device_type!r}'
    reasons = []
    for name in AUTOMATIC[device_type]:
        why = missing(name, device_type)
        if why is None:
            break
        reasons.append(f'{name}: {why}')
    found = f'; not there: {"; ".join(reasons)}' if reasons else ''
    return name, f'chosen for {device_type!r}{found}'


@cache
def _say(name: str, reason: str) -> None:
    """One line per process and reason; the cache is what has been said."""
    print_log(f'deform_conv2d runs on backend {name!r} ({reason})', logger='current', level=INFO)
