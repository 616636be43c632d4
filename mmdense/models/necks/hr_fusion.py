"""The levels of HRNet as one map, mixed by a 1x1 convolution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from mmdense.models.layers import BATCH_NORM, LevelFusion
from mmdense.registry import MODELS
from mmdense.structures import DenseFeatures

from .task_features import check_levels, check_tasks


@MODELS.register_module()
class HRFusion(nn.Module):
    """Concatenates all levels at the finest size and mixes them: 1x1 convolution, norm, ReLU.

    HRNetV2's fusion (Wang et al., PAMI 2020) as CTAL (WACV 2025) uses it: once over the
    backbone's levels ahead of the initial heads of PAD-Net, PAP-Net and single-scale CTAL, or
    once per task over the task's own levels in multi-scale CTAL. PyTorch's initial weights.

    Args:
        in_channels (Sequence[int]): Channels of the levels, fine to coarse.
        tasks (Sequence[str]): Task names; injected by the model. Used with ``per_task``.
        per_task (bool): Whether every task has a fusion of its own.
        channels (int | None): Output channels. None: the sum of ``in_channels``.
        align_corners (bool | None): For the resizing. None: decided by the input width (see
            :class:`~mmdense.structures.DenseFeatures`). Defaults to False, as CTAL.
        norm_cfg (Mapping): Norm layers.

    Attributes:
        channels (tuple[int]): Channels of the map that comes out.

    Shape:
        - in: ``feats.shared``, or with ``per_task`` the maps of each task (the shared ones
          where it has none): ``(B, in_channels[i], h_i, w_i)``.
        - out: one map ``(B, channels, h, w)`` of the finest size, in ``feats.shared`` or in
          ``feats.per_task`` of each task.

    Raises:
        ValueError: If ``per_task`` is set and ``tasks`` names none.
        ShapeError: If the maps are not those of ``in_channels``.
    """

    takes_features = True
    takes_tasks = True

    def __init__(
        self,
        in_channels: Sequence[int],
        tasks: Sequence[str] = (),
        per_task: bool = False,
        channels: int | None = None,
        align_corners: bool | None = False,
        norm_cfg: Mapping[str, Any] = BATCH_NORM,
    ) -> None:
        super().__init__()
        self.in_channels = tuple(in_channels)
        self.align_corners = align_corners
        self.per_task = per_task
        names = check_tasks('HRFusion', tasks) if per_task else ('shared',)
        self.fusions = nn.ModuleDict(
            {name: LevelFusion(self.in_channels, channels, norm_cfg) for name in names}
        )
        self.channels = (sum(self.in_channels) if channels is None else channels,)

    def forward(self, feats: DenseFeatures) -> DenseFeatures:
        corners = feats.align_corners if self.align_corners is None else self.align_corners
        if not self.per_task:
            check_levels('HRFusion', feats.shared, self.in_channels)
            return feats.replace(shared=(self.fusions['shared'](feats.shared, corners),))
        own = dict(feats.per_task)
        for task, fusion in self.fusions.items():
            maps = feats.maps_for(task)
            check_levels('HRFusion', maps, self.in_channels, f"those of task '{task}'")
            own[task] = fusion(maps, corners)
        return feats.replace(per_task=own)
