"""Cross-stitch units: linear mixtures of the maps of several networks, channel by channel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmdense.utils import ShapeError


def mixing_weights(
    name: str, num_tasks: int, alpha: float, beta: float | None
) -> tuple[float, float]:
    """Initial weights of a task's own map and of every other.

    Args:
        name (str): Who asks, for messages.
        num_tasks (int): T.
        alpha (float): Weight of the own map.
        beta (float | None): Weight of each other map. None: the rest to 1, shared evenly.

    Raises:
        ValueError: If there is no task.
    """
    if num_tasks < 1:
        raise ValueError(f'{name}: num_tasks={num_tasks}, expected at least 1.')
    return alpha, (1 - alpha) / max(num_tasks - 1, 1) if beta is None else beta


def check_maps(name: str, maps: Sequence[Tensor], num_tasks: int, channels: int) -> None:
    """Raise ``ShapeError`` unless there are T maps ``(B, channels, H, W)`` of one size."""
    shapes = [tuple(m.shape) for m in maps]
    differ = any(shape != shapes[0] for shape in shapes)
    if len(maps) != num_tasks or differ or shapes[0][1] != channels:
        raise ShapeError(
            f'{name}: got {len(maps)} maps of shapes {shapes}, expected {num_tasks} of one size '
            f'(B, {channels}, H, W). Give one map per task, in the order of the tasks.'
        )


class CrossStitchUnit(nn.Module):
    """Every task's map becomes a mixture of all, with a weight per channel.

    Misra et al., "Cross-stitch Networks for Multi-task Learning" (CVPR 2016), eq. (1):
    ``out_t = sum_u s[t, u] * x_u``. The paper has one scalar per pair of tasks and layer; here,
    as in the survey of Vandenhende et al. (TPAMI 2021), it is a vector over the channels.

    Parameters: ``weight`` ``(T, T, C)``, receiving task first.

    Args:
        num_tasks (int): T.
        channels (int): C.
        alpha (float): Initial weight of the own map. Defaults to 0.9.
        beta (float | None): Initial weight of each other map. None: ``(1 - alpha) / (T - 1)``,
            which makes the weights of a task sum to 1. Defaults to None.

    Shape:
        - input and output: T maps ``(B, C, H, W)``, in the order of the tasks.

    Raises:
        ValueError: If ``num_tasks`` is below 1.
        ShapeError: If maps differ from each other or from the above.
    """

    def __init__(
        self, num_tasks: int, channels: int, alpha: float = 0.9, beta: float | None = None
    ) -> None:
        super().__init__()
        self.alpha, self.beta = mixing_weights('CrossStitchUnit', num_tasks, alpha, beta)
        self.weight = nn.Parameter(torch.empty(num_tasks, num_tasks, channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """``alpha`` on the diagonal, ``beta`` elsewhere."""
        with torch.no_grad():
            self.weight.fill_(self.beta)
            self.weight.diagonal().fill_(self.alpha)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        num_tasks, _, channels = self.weight.shape
        check_maps('CrossStitchUnit', maps, num_tasks, channels)
        scales = self.weight[..., None, None]
        mixed = []
        for own in scales:
            total = own[0] * maps[0]
            for scale, other in zip(own[1:], maps[1:]):
                total = torch.addcmul(total, scale, other)
            # Maps in half precision are summed in that of the weights and stay as they came.
            mixed.append(total.to(maps[0].dtype))
        return tuple(mixed)

    def extra_repr(self) -> str:
        num_tasks, _, channels = self.weight.shape
        return (
            f'num_tasks={num_tasks}, channels={channels}, alpha={self.alpha:g}, beta={self.beta:g}'
        )
