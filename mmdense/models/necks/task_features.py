"""What the necks that give every task its own map have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from mmdense.structures import DenseFeatures
from mmdense.utils import ShapeError


def check_tasks(name: str, tasks: Sequence[str]) -> tuple[str, ...]:
    """Task names as a tuple.

    Raises:
        ValueError: If there is none, or one twice.
    """
    if not tasks or len(set(tasks)) != len(tasks):
        raise ValueError(
            f'{name}.tasks is {list(tasks)}; give every task of the model once, in order. '
            '`DensePredictor` passes its own.'
        )
    return tuple(tasks)


def check_channels(name: str, x: Tensor, channels: int) -> None:
    """Raise ``ShapeError`` unless the map ``(B, C, h, w)`` has the channels of the config."""
    if x.shape[1] != channels:
        raise ShapeError(
            f'{name}: the map it reads has {x.shape[1]} channels (shape {tuple(x.shape)}), '
            f'expected {channels}. Set the channels of this neck to those of the part before it.'
        )


def check_levels(
    name: str, maps: Sequence[Tensor], channels: Sequence[int], which: str = 'the shared ones'
) -> None:
    """Raise ``ShapeError`` unless the maps ``(B, C_i, h_i, w_i)`` have the channels of the config.

    Args:
        name (str): The neck, for messages.
        maps (Sequence[Tensor]): What it reads.
        channels (Sequence[int]): ``in_channels`` of the neck.
        which (str): Whose maps these are, for messages.
    """
    got = tuple(x.shape[1] for x in maps)
    if got != tuple(channels):
        raise ShapeError(
            f'{name}: the maps it reads, {which}, have {got} channels, expected in_channels='
            f'{tuple(channels)}, fine to coarse. Set `in_channels` to the `channels` of the '
            'backbone or neck before it.'
        )


def task_maps(
    name: str, feats: DenseFeatures, tasks: Sequence[str], channels: int, index: int = 0
) -> list[Tensor]:
    """One map of every task, ``(B, C, h, w)`` each.

    A task without maps of its own takes the shared ones.

    Args:
        name (str): The neck, for messages.
        feats (DenseFeatures): What the neck was given.
        tasks (Sequence[str]): Task names.
        channels (int): C.
        index (int): Which map of a task; negative counts from the last.

    Raises:
        ShapeError: If a task has no such map, or the maps differ in size or are not C wide.
    """
    maps: list[Tensor] = []
    for task in tasks:
        own = feats.maps_for(task)
        if not -len(own) <= index < len(own):
            raise ShapeError(
                f"{name}: reads map {index} of task '{task}', which has {len(own)}. Change the "
                'index or the neck before.'
            )
        check_channels(name, own[index], channels)
        maps.append(own[index])
    sizes = {task: tuple(x.shape[-2:]) for task, x in zip(tasks, maps)}
    # Pairwise: sizes that an export leaves free have no hash.
    if any(size != sizes[tasks[0]] for size in sizes.values()):
        raise ShapeError(f'{name}: maps of the tasks differ in size, {sizes}; expected one size.')
    return maps


def add_intermediate(
    feats: DenseFeatures, logits: Mapping[str, Sequence[Tensor]]
) -> dict[str, list[Tensor]]:
    """``feats.intermediate`` with further ``logits`` ``(B, D, h, w)`` of each task at the end."""
    grown = {task: list(before) for task, before in feats.intermediate.items()}
    for task, more in logits.items():
        grown.setdefault(task, []).extend(more)
    return grown
