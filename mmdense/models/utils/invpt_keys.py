"""Released InvPT checkpoints: their weights find their place by shape, order and task."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor

from mmdense.registry import TASKS

from .demt_keys import task_key
from .pretrained import LoadReport, load_pretrained

_PATCHES = 'patch_embed.proj.weight'
_BACKBONE = 'backbone.'
#: What InvPT's code registers and never gives a gradient, by the kind of layer.
_DEAD = (
    'skip convolution of the first scale',
    'reduction of the first scale',
    'score fusion of the first scale',
    'unused layer norm',
)


@dataclass
class _Unit:
    """A layer of a state dict, a batch norm with the convolution that is stored before it."""

    path: str
    shape: tuple[int, ...]
    names: list[str] = field(default_factory=list)
    norm_names: list[str] = field(default_factory=list)

    @property
    def parent(self) -> str:
        return self.path.rpartition('.')[0]

    def pairs(self, other: _Unit) -> list[tuple[str, str]]:
        """Keys of this unit with those of ``other`` that mean the same."""
        pairs = []
        for mine, theirs in ((self.names, other.names), (self.norm_names, other.norm_names)):
            by_tail = {name.rpartition('.')[2]: name for name in theirs}
            tails = [(name, name.rpartition('.')[2]) for name in mine]
            pairs += [(name, by_tail[tail]) for name, tail in tails if tail in by_tail]
        return pairs


def _units(state_dict: Mapping[str, Tensor]) -> list[_Unit]:
    """The layers of a state dict, in the order in which they are stored."""
    paths = dict.fromkeys(name.rpartition('.')[0] for name in state_dict)
    units: list[_Unit] = []
    by_path: dict[str, list[str]] = {path: [] for path in paths}
    for name in state_dict:
        by_path[name.rpartition('.')[0]].append(name)
    for path, names in by_path.items():
        weight = state_dict.get(f'{path}.weight')
        if weight is None:
            continue
        shape = tuple(weight.shape)
        is_batch_norm = f'{path}.running_mean' in state_dict
        if is_batch_norm and units and len(units[-1].shape) == 4 and units[-1].shape[0] == shape[0]:
            units[-1].norm_names = names
        else:
            units.append(_Unit(path, shape, names))
    return units


def convert_invpt_keys(
    state_dict: Mapping[str, Tensor],
    model: Any,
    tasks: Sequence[str] | None = None,
    previous_first: bool = False,
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Rename the weights of a released InvPT checkpoint to those of a model.

    Layers are recognised by what they are and not by what they are called: by the shape of
    their weight, the batch norm that is stored after a convolution, the task in their name (or
    the order of the tasks, where they are numbered), and the order in which attention, norms
    and scales are stored. The encoder has the names of timm.

    InvPT's code registers layers that never get a gradient and do nothing: the third skip
    convolution, one 1x1 reduction per task and the score fusion of the first scale, and one
    layer norm. They are left out and named.

    Args:
        state_dict (Mapping[str, Tensor]): Weights of a release.
        model (DensePredictor): With a ``VisionTransformer``, a ``PreliminaryDecoder`` and an
            ``UPTransformer``.
        tasks (Sequence[str] | None): Tasks in the order of their numbers; any name that mmdense
            knows (``edge``, ``normals``, ...). None: those of the model. Without effect on layers
            with the name of a task.
        previous_first (bool): Whether the score fusion of the release reads the scores of the
            previous scale ahead of those of its own. Defaults to False.

    Returns:
        tuple: Weights in the naming of the model, and the keys that are left out with the reason.
        Keys that are not recognised keep their name.

    Raises:
        ValueError: If the checkpoint has no patch embedding of the model's shape, if a layer of
            the model finds none of its shape, or if one could be several.
    """
    own = model.state_dict()
    if _BACKBONE + _PATCHES not in own:
        raise ValueError(
            f'InvPT release: the backbone of the model is a {type(model.backbone).__name__}, '
            'expected a VisionTransformer, the only encoder of the release. Choose a `vit` config.'
        )
    prefix = _encoder_prefix(state_dict, own[_BACKBONE + _PATCHES])
    encoder = {k.removeprefix(prefix): v for k, v in state_dict.items() if k.startswith(prefix)}
    renamed = model.backbone.convert_keys(encoder)
    converted = {_BACKBONE + name: value for name, value in renamed.items()}
    rest = {k: v for k, v in state_dict.items() if not k.startswith(prefix)}
    theirs = _units(rest)
    ours = _units({k: v for k, v in own.items() if not k.startswith(_BACKBONE)})
    order = [task_key(name) for name in tasks or model.tasks]
    used: set[int] = set()
    for mine, yours in _match(ours, theirs, order):
        used.add(id(yours))
        for name, source in mine.pairs(yours):
            value = rest[source]
            if previous_first and name.endswith('.fuse.weight'):
                value = torch.cat(value.chunk(2, dim=1)[::-1], dim=1)
            converted[name] = value
    left = [unit for unit in theirs if id(unit) not in used]
    dropped = {}
    for unit in left:
        reason = _reason(unit, ours)
        for name in (*unit.names, *unit.norm_names):
            if reason:
                dropped[name] = reason
            else:
                converted[name] = rest[name]
    return converted, dropped


def _encoder_prefix(state_dict: Mapping[str, Tensor], patches: Tensor) -> str:
    for name, value in state_dict.items():
        if name.endswith(_PATCHES) and value.shape == patches.shape:
            return name.removesuffix(_PATCHES)
    raise ValueError(
        f"InvPT release: no key ends with '{_PATCHES}' and has the shape {tuple(patches.shape)}. "
        'Check that the checkpoint is of InvPT with the ViT of the config.'
    )


def _match(
    ours: Sequence[_Unit], theirs: Sequence[_Unit], tasks: Sequence[str]
) -> list[tuple[_Unit, _Unit]]:
    """Pairs of the layers of the model and of a release."""
    pairs: list[tuple[_Unit, _Unit]] = []
    shapes = dict.fromkeys((unit.shape, _in_block(unit, ours)) for unit in ours)
    for shape, in_block in shapes:
        mine = [u for u in ours if (u.shape, _in_block(u, ours)) == (shape, in_block)]
        found = [u for u in theirs if (u.shape, _in_block(u, theirs)) == (shape, in_block)]
        pairs += zip(mine, _in_our_order(mine, found, tasks))
    return pairs


def _in_our_order(
    mine: Sequence[_Unit], found: Sequence[_Unit], tasks: Sequence[str]
) -> list[_Unit]:
    """The layers of a release of one shape, in the order of those of the model."""
    own_order = [_task_of(unit) for unit in mine]
    if len(mine[0].shape) == 1 and len(found) > len(mine):
        found = _siblings(found, len(mine))
    if len(mine[0].shape) == 4 and None in own_order:
        # Score fusions: the release has one for the first scale as well.
        found = found[len(found) - len(mine) :]
    if len(found) != len(mine):
        raise ValueError(
            f'InvPT release: the model has {len(mine)} layers with a weight {mine[0].shape} '
            f'({mine[0].path}, ...), the checkpoint {len(found)} '
            f'({", ".join(unit.path for unit in found) or "none"}). Check that data set, tasks '
            'and encoder of config and checkpoint are the same.'
        )
    if None in own_order:
        return _queries_first(found) if len(mine[0].shape) == 2 else list(found)
    named = {_task_of(unit): unit for unit in found}
    if None not in named and len(named) == len(found):
        return [named[task] for task in own_order]
    numbered = [task for task in tasks if task in own_order]
    return [found[numbered.index(task)] for task in own_order if task is not None]


def _in_block(unit: _Unit, units: Sequence[_Unit]) -> bool:
    """Whether a layer norm stands in a transformer block: beside one MLP, which is of its width."""
    if len(unit.shape) != 1 or not unit.parent:
        return False
    beside = [u.shape for u in units if u.path.startswith(f'{unit.parent}.') and len(u.shape) == 2]
    return [hidden for hidden, width in beside if hidden == 4 * width] == [4 * unit.shape[0]]


def _siblings(found: Sequence[_Unit], number: int) -> list[_Unit]:
    """Of too many layer norms of one width, those in a numbered list or in the innermost block."""
    depths = [unit.path.count('.') for unit in found]
    inner = [unit for unit, depth in zip(found, depths) if depth == max(depths)]
    listed = [unit for unit in found if unit.path.rpartition('.')[2].isdigit()]
    return next((some for some in (listed, inner) if len(some) == number), list(found))


def _queries_first(found: Sequence[_Unit]) -> list[_Unit]:
    """Linear maps in the order query, key, value, output, by their names where these tell."""

    def rank(unit: _Unit) -> int:
        match = re.search(r'(?:^|_)([qkv])(?:uery|ey|alue)?s?$', unit.path.rpartition('.')[2])
        return 'qkv'.index(match[1]) if match else 3

    ranks = [rank(unit) for unit in found]
    return sorted(found, key=rank) if sorted(ranks) == [0, 1, 2, 3] else list(found)


def _task_of(unit: _Unit) -> str | None:
    """The key of the task that a path names."""
    keys = {task.key for task in TASKS.module_dict.values()}
    return next((key for part in unit.path.split('.') if (key := task_key(part)) in keys), None)


def _reason(unit: _Unit, ours: Sequence[_Unit]) -> str | None:
    """Why a layer of a release is left out; None if nothing is known of it."""
    embed_dim = max(u.shape[1] for u in ours if u.path.endswith('.fc1'))
    fuse = {u.shape for u in ours if u.path.endswith('.fuse')}
    skip_channels = {u.shape[0] for u in ours if '.skips.' in u.path}
    skip_channels |= {u.shape[1] for u in ours if '.skips.' in u.path}
    if len(unit.shape) == 4 and unit.shape[2:] == (3, 3) and unit.shape[0] == embed_dim:
        return _DEAD[0] if unit.shape[1] in skip_channels else None
    if unit.shape == (embed_dim, embed_dim, 1, 1):
        return _DEAD[1]
    if unit.shape in fuse:
        return _DEAD[2]
    return _DEAD[3] if len(unit.shape) == 1 else None


def load_invpt_release(
    model: Any,
    checkpoint: str,
    tasks: Sequence[str] | None = None,
    previous_first: bool = False,
) -> LoadReport:
    """Load a released InvPT checkpoint into a model; logs what is left out, and why.

    Args:
        model (DensePredictor): Of a config of InvPT.
        checkpoint (str): Path or URL of the release.
        tasks (Sequence[str] | None): As in :func:`convert_invpt_keys`.
        previous_first (bool): As in :func:`convert_invpt_keys`.

    Returns:
        LoadReport: What matched and what did not; also logged.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If layers of the model find no weight.
    """

    def convert(weights: dict[str, Tensor]) -> dict[str, Tensor]:
        converted, dropped = convert_invpt_keys(weights, model, tasks, previous_first)
        for name, reason in dropped.items():
            print_log(f'left out {name}: {reason}', logger='current')
        return converted

    return load_pretrained(model, checkpoint, convert=convert)
