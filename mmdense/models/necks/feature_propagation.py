"""Feature propagation of MTI-Net: what the tasks of one level tell the next finer level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmdense.models.layers import BATCH_NORM, basic_block

SOFTMAX_AXES = ('tasks', 'released')


class SqueezeExcitation(nn.Module):
    """Scales every channel by a gate made of all channel means (Hu et al., CVPR 2018).

    Args:
        channels (int): C.
        reduction (int): The gates come from ``C // reduction`` hidden units, at least one.

    Shape:
        - input and output: ``(B, C, h, w)``.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(channels // reduction, 1)
        self.gate = nn.Sequential(
            nn.Linear(channels, hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, channels),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x.mean(dim=(2, 3)))[:, :, None, None]


class FeaturePropagation(nn.Module):
    """Feature propagation module of MTI-Net (Vandenhende et al., ECCV 2020, Section 3.3).

    The maps of all T tasks, concatenated, are weighed by a softmax across the tasks, reduced to
    one shared map, and given back to each task through squeeze-and-excitation and a residual.

    Args:
        tasks (Sequence[str]): Task names, in order.
        channels (int): C.
        fpm_softmax (str): ``'tasks'``: the weights of one channel sum to 1 over the T tasks (the
            paper). ``'released'``: the T * C channels are cut into groups of T neighbours, mostly
            of one and the same task, and the weights of a group sum to 1 (the released code of
            MTI-Net and CTAL, with which their numbers were made).
        norm_cfg (Mapping): Norm layers.

    Shape:
        - maps: one ``(B, C, h, w)`` per task.
        - output: the same.

    Raises:
        ValueError: If ``fpm_softmax`` is unknown.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        channels: int,
        fpm_softmax: str = 'tasks',
        norm_cfg: Mapping[str, Any] = BATCH_NORM,
    ) -> None:
        super().__init__()
        if fpm_softmax not in SOFTMAX_AXES:
            raise ValueError(
                f'FeaturePropagation.fpm_softmax is {fpm_softmax!r}; choose from {SOFTMAX_AXES}.'
            )
        self.fpm_softmax = fpm_softmax
        self.tasks = tuple(tasks)
        total = len(self.tasks) * channels
        hidden = max(total // 4, 1)
        self.logits = nn.Sequential(
            basic_block(total, hidden, norm_cfg),
            basic_block(hidden, hidden, norm_cfg),
            nn.Conv2d(hidden, total, 1),
        )
        self.reduce = basic_block(total, channels, norm_cfg)
        self.excitations = nn.ModuleDict({task: SqueezeExcitation(channels) for task in self.tasks})

    def mask(self, x: Tensor) -> Tensor:
        """Weights ``(B, T * C, h, w)`` of the concatenated maps ``(B, T * C, h, w)``."""
        logits: Tensor = self.logits(x)
        count = len(self.tasks)
        if self.fpm_softmax == 'tasks':
            return logits.unflatten(1, (count, -1)).softmax(dim=1).flatten(1, 2)
        return logits.unflatten(1, (-1, count)).softmax(dim=2).flatten(1, 2)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        x = torch.cat(list(maps), dim=1)
        shared = self.reduce(self.mask(x) * x)
        return [self.excitations[task](shared) + own for task, own in zip(self.tasks, maps)]
