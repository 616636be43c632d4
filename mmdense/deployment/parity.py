"""How far an exported network is from the model that it was made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .wrapper import Size

Array = np.ndarray
#: Largest relative difference that counts as equal, in float32.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Parity:
    """Comparison of one output.

    Attributes:
        task (str): Key of the task.
        shape (tuple[int, ...]): Of the output.
        relative (float): ``max |found - expected| / max |expected|`` over all pixels and
            channels. For labels: 0 or 1 would say nothing, so it is the share of pixels whose
            label differs.
        absolute (float): ``max |found - expected|``; for labels as ``relative``.
        spread (float): Standard deviation of the expected values over pixels, averaged over
            pictures and channels: 0 where a network gives a constant, which proves nothing.
    """

    task: str
    shape: tuple[int, ...]
    relative: float
    absolute: float
    spread: float


def compare(expected: Mapping[str, Tensor], found: Mapping[str, Array]) -> list[Parity]:
    """Compare the outputs of a model and of its export.

    Args:
        expected (Mapping): Task key to ``(B, D, H, W)``, of the model.
        found (Mapping): Task key to the same, of the export.

    Returns:
        list[Parity]: In the order of ``expected``.

    Raises:
        ValueError: If tasks or shapes differ.
    """
    if list(expected) != list(found):
        raise ValueError(f'compare: the export gives {list(found)}, the model {list(expected)}.')
    return [_compare(key, expected[key].cpu().numpy(), found[key]) for key in expected]


def _compare(task: str, expected: Array, found: Array) -> Parity:
    if expected.shape != found.shape:
        raise ValueError(
            f"compare: task '{task}' is {found.shape} from the export, {expected.shape} from the "
            'model.'
        )
    if not np.issubdtype(expected.dtype, np.floating):
        share = float((expected != found).mean())
        return Parity(task, expected.shape, share, share, _spread(expected))
    want, have = expected.astype(np.float64), found.astype(np.float64)
    # NaN anywhere makes the difference NaN, which is no parity.
    absolute = float(np.abs(have - want).max())
    largest = float(np.abs(want).max())
    relative = absolute / largest if largest else absolute
    return Parity(task, expected.shape, relative, absolute, _spread(want))


def _spread(values: Array) -> float:
    return float(values.reshape(*values.shape[:2], -1).std(axis=-1).mean())


def worst(rows: list[Parity]) -> float:
    """Largest relative difference; NaN if any is."""
    return float(np.max([row.relative for row in rows]))


def check_export(
    deployed: nn.Module,
    exported: Callable[[Array], dict[str, Array]],
    sizes: Iterator[tuple[int, Size]] | list[tuple[int, Size]],
    seed: int = 1,
) -> list[Parity]:
    """Compare on random pictures of several shapes.

    Args:
        deployed (DeployedModel): The model.
        exported (Callable): The export, such as
            :class:`~mmdense.deployment.ExportedModel`.
        sizes: Number of pictures, and height and width, of each comparison.
        seed (int): Of the pictures.

    Returns:
        list[Parity]: One row per shape and task.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for batch, size in sizes:
        images = smooth_pictures(batch, size, generator)
        with torch.no_grad():
            expected = deployed(images)
        rows += compare(expected, exported(images.numpy()))
    return rows


def smooth_pictures(batch: int, size: Size, generator: torch.Generator) -> Tensor:
    """Random pictures ``(B, 3, H, W)``, grey levels 0..255, coarse blobs with noise on top.

    Noise alone averages out in a network; maps would be almost constant.
    """
    coarse = torch.rand(batch, 3, 4, 4, generator=generator)
    blobs = nn.functional.interpolate(coarse, size=size, mode='bilinear', align_corners=False)
    noise = torch.rand(batch, 3, *size, generator=generator)
    return (0.8 * blobs + 0.2 * noise) * 255


@torch.no_grad()
def disturb(model: nn.Module, seed: int = 0, share: float = 0.3) -> None:
    """Move all weights of a fresh model, so that no part of it stays silent.

    Offsets, gates and last layers often start at zero, and statistics of batch norms at those
    of noise: an export that left such a part out would go unnoticed.

    Args:
        model (nn.Module): Changed in place.
        seed (int): Of the noise.
        share (float): Standard deviation of the noise, as a share of that of each weight.
    """
    generator = torch.Generator().manual_seed(seed)

    def noise(value: Tensor) -> Tensor:
        return torch.randn(value.shape, generator=generator, dtype=torch.float32)

    for parameter in model.parameters():
        spread = parameter.float().std().item() if parameter.numel() > 1 else 0.0
        parameter.add_(share * max(spread, 0.05) * noise(parameter))
    for name, buffer in model.named_buffers():
        if name.endswith('running_mean'):
            buffer += 0.1 * noise(buffer)
        elif name.endswith('running_var'):
            buffer *= torch.exp(share * noise(buffer))


def shapes_to_check(
    shape: Size, dynamic: tuple[str, ...], rule: tuple[int, int]
) -> list[tuple[int, Size]]:
    """Shapes that a graph claims to take: the one it was traced with, and others if free."""
    batch = 3 if 'batch' in dynamic else 1
    shapes = [(1, shape)] if batch == 1 else [(1, shape), (batch, shape)]
    if 'size' in dynamic:
        step = rule[0]
        shapes.append((1, (shape[0] + step, shape[1])))
        shapes.append((batch, (shape[0], shape[1] + 2 * step)))
    return shapes


def parity_table(rows: list[Parity]) -> list[dict[str, Any]]:
    """Rows as plain values."""
    return [
        dict(
            task=row.task,
            shape=list(row.shape),
            relative=row.relative,
            absolute=row.absolute,
            spread=row.spread,
        )
        for row in rows
    ]
