"""What a ``type`` of a config stands for, and what its constructor accepts."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import mmengine.registry as mmengine_registry

from .errors import close_names

# Looked in, in this order, to say `did you mean 'mmseg.FCNHead'?`. Only packages that are
# installed are imported, and only once a name was not found.
SIBLING_SCOPES = ('mmdense', 'mmseg', 'mmdet', 'mmpretrain', 'mmengine')
# Registries that mmengine has no root for.
OWN_REGISTRIES = ('TASKS', 'BALANCERS')
# A message lists all names of a kind up to so many, and only the close ones beyond.
_LISTED = 24


class UnknownTypeError(Exception):
    """A ``type`` could not be resolved; the text says why and what to do."""


@dataclass(frozen=True)
class Accepted:
    """Names a constructor takes.

    Args:
        names (frozenset[str]): Keyword names, those of base classes included where the
            constructor passes ``**kwargs`` on.
        exact (bool): Whether any other name is certainly refused.
    """

    names: frozenset[str]
    exact: bool


def registries(name: str, scope: str) -> Iterator[Any]:
    """The registry called ``name`` of a scope, then its root."""
    if name in OWN_REGISTRIES:
        yield getattr(importlib.import_module('mmdense.registry'), name)
        return
    root = getattr(mmengine_registry, name)
    try:
        importlib.import_module(f'{scope}.registry')
    except ImportError:
        pass
    else:
        if scope in root.children:
            yield root.children[scope]
    yield root


def resolve(type_name: str, registry_names: tuple[str, ...], scope: str) -> Any:
    """Find what a ``type`` names, as mmengine would when it builds the config.

    Args:
        type_name (str): Such as ``'ConvNeXt'`` or ``'mmseg.FCNHead'``.
        registry_names (tuple[str, ...]): Names of the registries to look in, such as
            ``('MODELS',)``.
        scope (str): The default scope in force at that place of the config.

    Returns:
        The class or function.

    Raises:
        UnknownTypeError: If nothing of that name is registered, or the package that would
            register it is absent or does not import.
    """
    prefix = type_name.split('.')[0] if '.' in type_name else ''
    if prefix and importlib.util.find_spec(prefix) is None:
        raise UnknownTypeError(
            f'the package `{prefix}` is not installed here. Install it, or take a part of '
            'another package; `python tools/doctor.py` lists what is there.'
        )
    for name in registry_names:
        for registry in registries(name, scope):
            try:
                found = registry.get(type_name)
            except ImportError as error:
                raise UnknownTypeError(
                    f'the modules of `{prefix or registry.scope}` do not import: {error}. '
                    '`python tools/doctor.py` says how to mend it.'
                ) from error
            except RuntimeError:  # how newer mmengine releases report an unknown name
                found = None
            if found is not None:
                return found
    raise UnknownTypeError(_unknown(type_name, registry_names, scope))


def _unknown(type_name: str, registry_names: tuple[str, ...], scope: str) -> str:
    bare = type_name.rsplit('.', 1)[-1]
    known: dict[str, str] = {}
    for name in registry_names:
        for sibling in (scope, *SIBLING_SCOPES):
            for key in _names(name, sibling):
                spelling = key if sibling in (scope, 'mmengine') else f'{sibling}.{key}'
                known.setdefault(key, spelling)
    close = close_names(bare, known)
    kinds = ' or '.join(sorted({name.lower() for name in registry_names}))
    text = f'nothing of that name is registered among the {kinds}.'
    own = sorted(spelling for key, spelling in known.items() if key in _own(registry_names, scope))
    if len(own) <= _LISTED:
        text += f' Known: {", ".join(own)}.'
    if close:
        return f'{text} Did you mean {" or ".join(repr(known[name]) for name in close)}?'
    return (
        f'{text} Check the spelling, or import the module that registers it with '
        "`custom_imports = dict(imports=['your.module'])`."
    )


def _own(registry_names: tuple[str, ...], scope: str) -> set[str]:
    return {key for name in registry_names for key in _names(name, scope)}


def _names(name: str, scope: str) -> list[str]:
    """Registered names of a scope, or none where its package does not load."""
    if importlib.util.find_spec(scope) is None:
        return []
    found: list[str] = []
    try:
        for registry in registries(name, scope):
            registry.import_from_location()
            found.extend(registry.module_dict)
    except (ImportError, RuntimeError, OSError):
        return found
    return found


def accepted_by(target: Callable[..., Any]) -> Accepted:
    """Keyword names that a class or function accepts."""
    if not inspect.isclass(target):
        names, open_ended = _parameters(target)
        return Accepted(frozenset(names), not open_ended)
    collected: set[str] = set()
    exact = True
    for base in inspect.getmro(target):
        init = base.__dict__.get('__init__')
        if init is None or base is object:
            continue
        names, open_ended = _parameters(init)
        collected |= names
        # A decorator may rename arguments before the constructor sees them, and `**kwargs`
        # may go anywhere: both leave the question to the constructor itself.
        exact = exact and not open_ended and not hasattr(init, '__wrapped__')
        if not open_ended:
            break
    # Without any constructor, arguments could still go to `__new__`.
    return Accepted(frozenset(collected), exact and (bool(collected) or _plain_new(target)))


def _plain_new(target: type) -> bool:
    return all('__new__' not in base.__dict__ for base in inspect.getmro(target)[:-1])


def _parameters(function: Callable[..., Any]) -> tuple[set[str], bool]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # built-ins and C functions
        return set(), True
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    names = {item.name for item in parameters if item.kind in named and item.name != 'self'}
    return names, any(item.kind is inspect.Parameter.VAR_KEYWORD for item in parameters)
