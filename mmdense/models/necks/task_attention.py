"""What task interaction and task query share: the axis of attention and the pooling of keys."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .task_features import check_tasks

ATTENTIONS = ('token', 'pixel', 'released')
_DEFAULT_STRIDE = 8


class TaskAttentionNeck(nn.Module):
    """Base of necks that attend across tasks.

    Args:
        channels (int): C.
        tasks (Sequence[str]): Task names, in the order of their tokens.
        attention (str): ``'token'``: over the tokens of one picture. ``'pixel'``: over the
            tasks at one pixel. ``'released'``: over pictures (and tasks) at one pixel.
        kv_stride (int | None): Keys and values of ``'token'`` are averaged over cells of this
            size; cells at the border are smaller. None: 8, unless ``kv_grid`` is given.
        kv_grid (tuple[int, int] | None): Instead of a stride, the number of cells in height and
            width, whatever the size of the map (or its size, if that is smaller).
        with_cp (bool): Recompute the attention in the backward pass, one task at a time.

    Raises:
        ValueError: If an option is unknown, out of range, or without effect.
    """

    takes_features = True
    takes_tasks = True

    def __init__(
        self,
        channels: int,
        tasks: Sequence[str],
        attention: str,
        kv_stride: int | None,
        kv_grid: tuple[int, int] | None,
        with_cp: bool,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if attention not in ATTENTIONS:
            raise ValueError(
                f'{name}.attention is {attention!r}; choose one of '
                f'{", ".join(map(repr, ATTENTIONS))}.'
            )
        if kv_stride is not None and kv_grid is not None:
            raise ValueError(
                f'{name}: kv_stride={kv_stride} and kv_grid={kv_grid}; give one of them.'
            )
        if attention != 'token' and (kv_stride is not None or kv_grid is not None):
            raise ValueError(
                f'{name}: kv_stride={kv_stride}, kv_grid={kv_grid} have no effect with attention='
                f"{attention!r}, which pools nothing. Leave them out or set attention='token'."
            )
        if kv_grid is None and attention == 'token':
            kv_stride = _DEFAULT_STRIDE if kv_stride is None else kv_stride
        if min([1 if kv_stride is None else kv_stride, *(kv_grid or ())]) < 1:
            raise ValueError(
                f'{name}: kv_stride={kv_stride}, kv_grid={kv_grid}; need positive numbers.'
            )
        self.channels = channels
        self.tasks = check_tasks(name, tasks)
        self.attention_over = attention
        self.kv_stride = kv_stride
        self.kv_grid = None if kv_grid is None else (kv_grid[0], kv_grid[1])
        self.with_cp = with_cp

    def pool(self, x: Tensor) -> Tensor:
        """Keys' map of one task: cell averages of ``(B, C, h, w)``; padding does not count."""
        h, w = x.shape[-2:]
        if self.kv_grid is not None:
            grid = (min(self.kv_grid[0], h), min(self.kv_grid[1], w))
            return F.adaptive_avg_pool2d(x, grid)
        stride = self.kv_stride or 1
        if stride == 1:
            return x
        return F.avg_pool2d(x, stride, stride, ceil_mode=True, count_include_pad=False)

    def warn_of_batch(self, batch: int) -> None:
        """Say once that ``'released'`` mixes the pictures of a batch."""
        if self.attention_over == 'released' and batch > 1:
            warnings.warn(
                f"{type(self).__name__}: attention='released' mixes the {batch} pictures of the "
                'batch, so that predictions depend on what else is in it. Use batches of one, or '
                "attention='pixel', which is the same for one picture.",
                stacklevel=3,
            )

    def run(self, function: Callable[..., Tensor], *args: Tensor) -> Tensor:
        """``function(*args)``, recomputed in the backward pass if asked for."""
        if self.with_cp and torch.is_grad_enabled():
            recomputed: Tensor = checkpoint(function, *args, use_reentrant=False)
            return recomputed
        return function(*args)


def norm_or_identity(channels: int, wanted: bool) -> nn.Module:
    """A layer norm, or nothing."""
    return nn.LayerNorm(channels) if wanted else nn.Identity()
