"""Weights that only training needs: how they are told from the rest, and left out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any

from mmengine.logging import print_log
from torch import nn

#: What the names of children begin with that exist in training only.
PREFIX = 'train_only_'
#: Where a checkpoint's ``meta`` lists the prefixes of such weights.
META_KEY = 'train_only_prefixes'


def train_only_children(model: nn.Module) -> list[str]:
    """Names of the children of a model that inference does without."""
    return [name for name, _ in model.named_children() if name.startswith(PREFIX)]


def is_train_only(key: str, prefixes: Iterable[str] = ()) -> bool:
    """Whether a key of a state dict belongs to such a child.

    Example:
        >>> is_train_only('module.train_only_triplane.field.x')
        True
    """
    plain = re.sub(r'^(module\.)+', '', key)
    return plain.startswith((PREFIX, *prefixes))


def without_train_only(weights: Mapping[str, Any], prefixes: Iterable[str] = ()) -> dict[str, Any]:
    """The weights that inference needs."""
    prefixes = tuple(prefixes)
    return {key: value for key, value in weights.items() if not is_train_only(key, prefixes)}


def drop_train_only(
    model: nn.Module, state_dict: MutableMapping[str, Any], prefix: str = ''
) -> None:
    """Remove weights of training-only children that ``model`` does not have; one line says so."""
    own = tuple(f'{prefix}{name}.' for name in train_only_children(model))
    foreign = [
        key for key in state_dict if key.startswith(prefix + PREFIX) and not key.startswith(own)
    ]
    for key in foreign:
        del state_dict[key]
    if foreign:
        names = sorted({key[len(prefix) :].split('.')[0] for key in foreign})
        print_log(
            f'{len(foreign)} training-only weights of the checkpoint are left out '
            f'({", ".join(names)}).',
            logger='current',
        )


def reconcile(
    model: nn.Module, checkpoint: dict[str, Any], resume: bool, source: str | None = None
) -> None:
    """Make a checkpoint that is about to be loaded agree with what ``model`` has of such parts.

    Weights of parts that it lacks are removed. Where the checkpoint lacks those of its own
    parts, these keep their initialisation.

    Args:
        model (nn.Module): Not wrapped.
        checkpoint (dict): With ``state_dict``, or a state dict; changed in place.
        resume (bool): Whether a run goes on, rather than begins.
        source (str | None): Where it comes from, for the message.

    Raises:
        RuntimeError: If a run would go on without such weights.
    """
    weights = checkpoint.get('state_dict', checkpoint)
    own = tuple(f'{name}.' for name in train_only_children(model))
    bare = {re.sub(r'^(module\.)+', '', key): key for key in weights}
    foreign = [
        key for plain, key in bare.items() if plain.startswith(PREFIX) and not plain.startswith(own)
    ]
    for key in foreign:
        del weights[key]
    if foreign:
        print_log(
            f'{len(foreign)} training-only weights of the checkpoint are left out.', 'current'
        )
    if not own or any(plain.startswith(own) for plain in bare):
        return
    if resume:
        raise RuntimeError(
            f'checkpoint {source or ""} was published without its training-only weights; use '
            'load_from to start a new run, or resume from work_dirs/.../iter_N.pth.'
        )
    for key, value in model.state_dict().items():
        if key.startswith(own):
            weights[key] = value
    print_log(
        f'{", ".join(n[:-1] for n in own)}: not in the checkpoint, initialised fresh.', 'current'
    )


def strip_checkpoint(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint without weights that only training needs, averaged ones included."""
    prefixes = tuple((checkpoint.get('meta') or {}).get(META_KEY, ()))
    stripped = dict(checkpoint)
    for name in ('state_dict', 'ema_state_dict'):
        if name in stripped:
            stripped[name] = without_train_only(stripped[name], prefixes)
    return stripped
