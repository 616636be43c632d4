"""Plain heads on the features: the control without planes, rays and integral."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdense.registry import MODELS

from .base import AuxiliaryMaps, FeatureRegularizer
from .encoder import TriplaneEncoder
from .field import PointMLP
from .functional.naive import SLOPE


@MODELS.register_module()
class AuxHeadRegularizer(FeatureRegularizer):
    """Two-dimensional auxiliary heads with the capacity of :class:`TriplaneRegularizer`.

    One map in place of three planes, and the same MLP per task, applied to every cell. What
    the triplane gains over this is what its third dimension gives.

    Args:
        tasks: See :class:`FeatureRegularizer`.
        channels (int): Channels of the map.
        hidden (int): Hidden units of the MLPs.
        mid_channels (int): See :class:`TriplaneEncoder`.
        dropout (float): See :class:`TriplaneEncoder`.
        stride (int): Pixels of the input per cell, in each direction (rounded up).
        norm_cfg (dict | None): See :class:`TriplaneEncoder`.
        kwargs: Of :class:`FeatureRegularizer`.
    """

    default_name = 'aux_head'
    encoder: TriplaneEncoder
    heads: nn.ModuleDict

    def __init__(
        self,
        tasks: Any,
        channels: int = 64,
        hidden: int = 64,
        mid_channels: int = 64,
        dropout: float = 0.15,
        stride: int = 8,
        norm_cfg: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(tasks, **kwargs)
        if not 0 <= dropout < 1:
            raise ValueError(f'{self.key("dropout")}={dropout}; give a share in [0, 1).')
        self.channels, self.hidden, self.stride = channels, hidden, stride
        self._encoder: dict[str, Any] = dict(
            mid_channels=mid_channels, dropout=dropout, norm_cfg=norm_cfg
        )
        self.ready()

    def build(self, in_channels: tuple[int, ...]) -> None:
        self.encoder = TriplaneEncoder(in_channels, self.channels, num_planes=1, **self._encoder)
        self.heads = nn.ModuleDict({
            key: PointMLP(self.channels, self.hidden, task.num_channels, False, False)
            for key, task in self.tasks.items()
        })  # fmt: skip

    def predict(
        self,
        maps: tuple[Tensor, ...],
        image_size: tuple[int, int],
        generator: torch.Generator | None,
    ) -> AuxiliaryMaps:
        height, width = (-(-pixels // self.stride) for pixels in image_size)
        cells = self.encoder(maps, (height, width), generator)[:, 0].permute(0, 2, 3, 1)
        logits = {}
        for key in self.tasks:
            head = cast(PointMLP, self.heads[key]).weights()
            hidden = F.leaky_relu(F.linear(cells, head['w1'], head['b1']), SLOPE)
            logits[key] = F.linear(hidden, head['w2'], head['b2']).permute(0, 3, 1, 2)
        return AuxiliaryMaps(logits)
