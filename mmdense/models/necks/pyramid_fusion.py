"""Top-down fusion of a task's own levels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdense.registry import MODELS
from mmdense.structures import DenseFeatures

from .task_features import check_levels, check_tasks

FUSION_WEIGHTS = (None, 'softmax')


class TopDownFusion(nn.Module):
    """The finest level of a feature pyramid network (Lin et al., CVPR 2017).

    Args:
        in_channels (Sequence[int]): Channels of the levels, fine to coarse.
        channels (int): C.
        gated (bool): Two learned scalars per merge, whose softmax weighs the two summands;
            equal, with a sum of 2, at the start.

    Shape:
        - maps: ``(B, in_channels[i], h_i, w_i)``.
        - output: ``(B, C, h_0, w_0)``.
    """

    def __init__(self, in_channels: Sequence[int], channels: int, gated: bool = False) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(c, channels, 1) for c in in_channels)
        self.output = nn.Conv2d(channels, channels, 3, padding=1)
        merges = len(in_channels) - 1
        self.gates = nn.Parameter(torch.zeros(merges, 2)) if gated else None

    def reset_parameters(self) -> None:
        """Equal weights."""
        if self.gates is not None:
            nn.init.zeros_(self.gates)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        levels = [lateral(x) for lateral, x in zip(self.laterals, maps)]
        weights = None if self.gates is None else 2 * self.gates.softmax(dim=1)
        merged = levels[-1]
        for index in reversed(range(len(levels) - 1)):
            level = levels[index]
            coarse = F.interpolate(merged, size=level.shape[-2:], mode='nearest')
            if weights is not None:
                level, coarse = weights[index, 0] * level, weights[index, 1] * coarse
            merged = level + coarse
        fused: Tensor = self.output(merged)
        return fused


@MODELS.register_module()
class PyramidFusion(nn.Module):
    """Puts the finest level of a feature pyramid of a task's maps ahead of them.

    The "dynamic feature pyramid" of MT-CP (WACV 2025): 1x1 lateral convolutions, nearest
    enlargement and sums from coarse to fine, a 3x3 convolution. The adaptive weights that the
    paper speaks of are not in the released code and not defined in the paper; what comes
    nearest is ``fusion_weights='softmax'``.

    Args:
        in_channels (Sequence[int]): Channels of a task's maps, fine to coarse.
        channels (int): C.
        tasks (Sequence[str]): Task names; injected by the model.
        fusion_weights (str | None): ``'softmax'``: two learned scalars per merge. None: sums.

    Shape:
        - ``feats.per_task[task]``: ``(B, in_channels[i], h_i, w_i)``, fine to coarse.
        - out: ``(B, C, h_0, w_0)``, then the same maps.

    Raises:
        ValueError: If there is no task or ``fusion_weights`` is unknown.
        ShapeError: If the maps of a task are not those of ``in_channels``.
    """

    takes_features = True
    takes_tasks = True

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        tasks: Sequence[str],
        fusion_weights: str | None = None,
    ) -> None:
        super().__init__()
        if fusion_weights not in FUSION_WEIGHTS:
            raise ValueError(
                f"PyramidFusion.fusion_weights is {fusion_weights!r}; choose 'softmax' or None."
            )
        self.in_channels, self.channels = tuple(in_channels), channels
        gated = fusion_weights == 'softmax'
        self.pyramids = nn.ModuleDict(
            {
                task: TopDownFusion(in_channels, channels, gated)
                for task in check_tasks('PyramidFusion', tasks)
            }
        )

    def forward(self, feats: DenseFeatures) -> DenseFeatures:
        own = dict(feats.per_task)
        for task, pyramid in self.pyramids.items():
            maps = feats.maps_for(task)
            check_levels('PyramidFusion', maps, self.in_channels, f"those of task '{task}'")
            own[task] = (pyramid(maps), *maps)
        return feats.replace(per_task=own)
