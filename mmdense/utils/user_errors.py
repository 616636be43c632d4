"""Turns an error of the build into one paragraph that says what to change."""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from .config_check import ConfigError, unexpected_key
from .errors import DataError, MissingDependencyError, ShapeError
from .registry_lookup import UnknownTypeError, accepted_by, resolve

# Their texts already say where, what and what to do.
SELF_EXPLAINING = (ConfigError, DataError, MissingDependencyError, ShapeError)
_REGISTRIES = (
    'MODELS',
    'DATASETS',
    'TRANSFORMS',
    'HOOKS',
    'METRICS',
    'TASKS',
    'BALANCERS',
    'OPTIM_WRAPPERS',
    'OPTIMIZERS',
    'PARAM_SCHEDULERS',
    'VISUALIZERS',
    'DATA_SAMPLERS',
    'LOOPS',
)
_UNEXPECTED = re.compile(r"(\S+)\(\) got an unexpected keyword argument '(\w+)'")
_MISSING = re.compile(r'(\S+)\(\) missing \d+ required [\w-]+ arguments?: (.+)')
_NOT_REGISTERED = re.compile(r'([\w.]+) is not in the \S+? ?registry|Failed to get ([\w.]+)')
_CORRUPT = re.compile(
    r'PytorchStreamReader|invalid magic number|not a zip archive|Ran out of input'
)


def places(cfg: Any, path: str = '') -> Iterator[tuple[str, Any]]:
    """Every value of a config with its key path, outer ones first."""
    if hasattr(cfg, 'items'):  # mmengine's Config is no Mapping
        for key, value in cfg.items():
            here = f'{path}.{key}' if path else str(key)
            yield here, value
            yield from places(value, here)
    elif isinstance(cfg, Sequence) and not isinstance(cfg, (str, bytes)):
        for index, value in enumerate(cfg):
            yield f'{path}[{index}]', value
            yield from places(value, f'{path}[{index}]')


def describe(error: BaseException, cfg: Mapping[str, Any]) -> str:
    """Explain an error that was raised while a config was being built.

    Args:
        error (BaseException): What was raised.
        cfg (Mapping): The config that was being built.

    Returns:
        str: One paragraph: the key path and value where they can be told, what is wrong and
        what to do.
    """
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if isinstance(error, SELF_EXPLAINING):
        return text
    for explain in (_unregistered, _unexpected, _missing, _corrupt):
        explained = explain(text, cfg)
        if explained:
            return explained
    if isinstance(error, OSError) and error.filename:
        return _file(error, cfg)
    return f'{type(error).__name__}: {text}{_raised_in(error)}'


def _unregistered(text: str, cfg: Mapping[str, Any]) -> str:
    match = _NOT_REGISTERED.search(text)
    if not match:
        return ''
    name = match.group(1) or match.group(2)
    where = [path for path, value in places(cfg) if path.endswith('.type') and value == name]
    try:
        resolve(name, _REGISTRIES, _scope(cfg))
    except UnknownTypeError as failure:
        return f"{_at(where)}'{name}': {failure}"
    return f"{_at(where)}'{name}' is registered, but as another kind of part: {text}"


def _unexpected(text: str, cfg: Mapping[str, Any]) -> str:
    match = _UNEXPECTED.search(text)
    if not match:
        return ''
    name, key = match.group(1).removesuffix('.__init__'), match.group(2)
    holders = [
        (path, value)
        for path, value in [('', cfg), *places(cfg)]
        if isinstance(value, Mapping) and key in value and 'type' in value
    ]
    # The part itself first: a key may be passed on to a base class, which then complains.
    holders.sort(key=lambda item: not str(item[1]['type']).endswith(name))
    for path, value in holders:
        try:
            target = resolve(str(value['type']), _REGISTRIES, _scope(cfg))
        except UnknownTypeError:
            continue
        return f'{path}.{key}: {unexpected_key(target, key, accepted_by(target).names)}'
    return f"{name} was given an argument '{key}' that it does not take ({text})."


def _missing(text: str, cfg: Mapping[str, Any]) -> str:
    match = _MISSING.search(text)
    if not match:
        return ''
    name = match.group(1).removesuffix('.__init__').rsplit('.', 1)[-1]
    where = [
        path
        for path, value in places(cfg)
        if isinstance(value, Mapping) and str(value.get('type')).split('.')[-1] == name
    ]
    return (
        f'{_at(where)}{name} needs {match.group(2)}, which the config does not give. Add it there.'
    )


def _corrupt(text: str, cfg: Mapping[str, Any]) -> str:
    if not _CORRUPT.search(text):
        return ''
    files = [
        f"{path} = '{value}'"
        for path, value in places(cfg)
        if isinstance(value, str) and value.endswith(('.pth', '.pt', '.ckpt'))
    ]
    return (
        f'A checkpoint is damaged or is none ({text.splitlines()[0]}). Checkpoints of this run: '
        f'{", ".join(files) or "none named in the config"}. Copy or download it again.'
    )


def _file(error: OSError, cfg: Mapping[str, Any]) -> str:
    name = os.path.abspath(str(error.filename))
    where = [
        f"{path} = '{value}'"
        for path, value in places(cfg)
        if isinstance(value, str)
        and len(value) > 1
        and (name + os.sep).startswith(os.path.abspath(value) + os.sep)
    ]
    origin = f' (from {"; ".join(where)})' if where else ''
    return (
        f'{error.strerror or "Cannot read"}: {error.filename}{origin}. Put the data there, or '
        f'name the right place with --cfg-options'
        f'{" " + where[0].split(" = ")[0] + "=..." if where else ""}.'
    )


def _at(where: Sequence[str]) -> str:
    return f'{" and ".join(where)}: ' if where else ''


def _scope(cfg: Mapping[str, Any]) -> str:
    return str(cfg.get('default_scope') or 'mmengine')


def _raised_in(error: BaseException) -> str:
    frames: list[tuple[FrameType, int]] = list(traceback.walk_tb(error.__traceback__))
    if not frames:
        return ''
    frame, line = frames[-1]
    code = frame.f_code
    return f' (raised in {code.co_name}, {Path(code.co_filename).name}, line {line})'
