"""Key names of the released DeMT checkpoints."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from mmdense.registry import TASKS

from .pretrained import LoadReport, load_pretrained

_HEAD = 'head.'
# One rule per module of the released head, first match wins. `{neck}` is the prefix of our
# neck; a `#` ahead of a group stands for a task by its number, an `@` for one by its name.
_RULES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r'^linear1\.0\.', '{neck}reduction.linear.'),
        (r'^linear1\.1\.', '{neck}reduction.norm.'),
        (
            r'^defor_mixers\.(\d+)\.blocks\.(\d+)\.0\.',
            r'{neck}mixer.mixers.#\1.\2.channel.conv.',
        ),
        (
            r'^defor_mixers\.(\d+)\.blocks\.(\d+)\.2\.',
            r'{neck}mixer.mixers.#\1.\2.channel.norm.',
        ),
        (
            r'^defor_mixers\.(\d+)\.blocks\.(\d+)\.3\.fn\.0\.(weight|bias)$',
            r'{neck}mixer.mixers.#\1.\2.spatial.conv.conv.\3',
        ),
        (
            r'^defor_mixers\.(\d+)\.blocks\.(\d+)\.3\.fn\.0\.get_offset\.(p_conv|opt)\.',
            r'{neck}mixer.mixers.#\1.\2.spatial.conv.offset.\3.',
        ),
        (
            r'^defor_mixers\.(\d+)\.blocks\.(\d+)\.3\.fn\.2\.',
            r'{neck}mixer.mixers.#\1.\2.spatial.norm.',
        ),
        (r'^task_fusion\.', '{neck}interaction.attention.'),
        (r'^smlp\.', '{neck}interaction.smlp.'),
        (r'^task_querys\.(\d+)\.', r'{neck}query.queries.#\1.attention.'),
        (r'^smlp2\.(\d+)\.', r'{neck}query.queries.#\1.smlp.'),
        (r'^bottleneck\.(\w+)\.(conv|bn)\.', r'heads.@\1.convs.0.\2.'),
        (r'^final_logits\.(\w+)\.', r'heads.@\1.predictor.'),
    )
)
# Registered by the released code and never read.
_UNUSED = re.compile(r'^defor_mixers\.\d+\.blocks\.\d+\.3\.fn\.0\.(?:get_offset\.)?offset$')


def convert_demt_keys(
    state_dict: Mapping[str, Tensor], tasks: Sequence[str] | None = None, neck: str = 'neck.0.'
) -> dict[str, Tensor]:
    """Rename the weights of a released DeMT checkpoint to those of a model with ``DeMTNeck``.

    The release numbers most modules of a task and names its heads (``head.bottleneck.<task>``).
    Backbones pass through :func:`~mmdense.models.backbones.convert_swin_keys`, which knows the
    authors' naming of Swin and leaves other names alone. Attention projections are packed in
    the same order (query, key, value) on both sides. Unknown keys keep their name, so that
    a comparison with the model lists them.

    Args:
        state_dict (Mapping[str, Tensor]): Weights of a release, ``backbone.*`` and ``head.*``.
        tasks (Sequence[str] | None): Tasks in the order of the numbers; any name that mmdense
            knows (``edge``, ``normals``, ...). None: the order in which the heads are stored.
        neck (str): Prefix of the neck in the model. Defaults to ``'neck.0.'``.

    Returns:
        dict[str, Tensor]: Weights in the naming of the model.

    Raises:
        ValueError: If a number has no task.
    """
    from mmdense.models.backbones import convert_swin_keys  # backbones import this package

    ordered = _stored_tasks(state_dict) if tasks is None else [task_key(t) for t in tasks]
    backbone = {k: v for k, v in state_dict.items() if k.startswith('backbone.')}
    converted = {f'backbone.{k}': v for k, v in convert_swin_keys(backbone).items()}
    for name, value in state_dict.items():
        if name in backbone:
            continue
        short = name.removeprefix(_HEAD)
        if short == name or not _UNUSED.match(short):
            converted[_rename(name, ordered, neck)] = value
    return converted


def _stored_tasks(state_dict: Mapping[str, Tensor]) -> list[str]:
    """Tasks in the order in which a release stores their heads."""
    found = (re.match(r'head\.bottleneck\.(\w+)\.', name) for name in state_dict)
    return list(dict.fromkeys(task_key(match[1]) for match in found if match))


def _rename(name: str, tasks: Sequence[str], neck: str) -> str:
    short = name.removeprefix(_HEAD)
    for pattern, replacement in _RULES if short != name else ():
        renamed, found = pattern.subn(replacement, short)
        if found:
            renamed = re.sub(r'@(\w+)', lambda match: task_key(match[1]), renamed)
            renamed = re.sub(r'#(\d+)', lambda match: _numbered(match, tasks, name), renamed)
            return renamed.replace('{neck}', neck)
    return name


def _numbered(match: re.Match[str], tasks: Sequence[str], name: str) -> str:
    number = int(match[1])
    if number >= len(tasks):
        raise ValueError(
            f"DeMT release: '{name}' belongs to task {number}, but there are only {len(tasks)}: "
            f'{list(tasks)}. Name the tasks of the release in order with `tasks`.'
        )
    return tasks[number]


def task_key(name: str) -> str:
    """The key of a task by any of its names; the name itself if there is no such task."""
    for task in TASKS.module_dict.values():
        if name in (task.key, *task.aliases):
            key: str = task.key
            return key
    return name


def load_demt_release(
    model: Any, checkpoint: str, tasks: Sequence[str] | None = None
) -> LoadReport:
    """Load a released DeMT checkpoint into a model; warns if its neck is not set up for that.

    Args:
        model (DensePredictor): With a ``DeMTNeck``, made with ``released=True``.
        checkpoint (str): Path or URL of the release.
        tasks (Sequence[str] | None): As in :func:`convert_demt_keys`.

    Returns:
        LoadReport: What matched and what did not; also logged.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the model has no ``DeMTNeck``, or a key of it finds no weight.
    """
    for index, neck in enumerate(getattr(model, 'neck', nn.ModuleList())):
        if hasattr(neck, 'warn_unless_released'):
            neck.warn_unless_released(checkpoint)
            prefix = f'neck.{index}.'
            break
    else:
        raise ValueError(
            f'{type(model).__name__} has no DeMTNeck among its necks, so a release of DeMT '
            "does not fit it. Give it neck=dict(type='DeMTNeck', released=True, ...)."
        )
    return load_pretrained(
        model,
        checkpoint,
        convert=lambda weights: convert_demt_keys(weights, tasks, prefix),
    )
