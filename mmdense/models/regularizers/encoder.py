"""Features of a picture to feature planes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from torch import Tensor, nn

from mmdense.models.layers import ConstructorInitModule, at_least_float32
from mmdense.registry import MODELS
from mmdense.utils import ShapeError

PLANE_ACTS = ('relu', 'none')


@MODELS.register_module()
class TriplaneEncoder(ConstructorInitModule):
    """Two convolutions from feature maps to the planes xy, yz, xz.

    Supplement of Li et al., "Multi-Task Learning with 3D-Aware Regularization" (ICLR 2024):
    two convolutions, batch norm, ReLU, dropout 0.15, 64 channels. Batch norm and ReLU follow
    each convolution (two of them with nothing between are one linear map); dropout comes
    last.

    Args:
        in_channels (Sequence[int]): Channels of each map.
        channels (int): Channels of a plane.
        mid_channels (int): Channels between the convolutions.
        num_planes (int): Planes.
        plane_act (str): ``'relu'``, or ``'none'`` for planes that may be negative.
        dropout (float): Share of values dropped, in [0, 1).
        dropout_each (bool): Whether to drop after the first convolution as well.
        norm_cfg (dict | None): Normalisation layer; None: ``dict(type='BN')``.
        init_cfg (dict | None): Initialisation config of mmengine.

    Shape:
        - maps: ``(B, C_i, h_i, w_i)`` each.
        - output: ``(B, num_planes, channels, Hp, Wp)``.

    Raises:
        ValueError: If ``dropout`` or ``plane_act`` is out of range.
        ShapeError: If the maps have other channels.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int = 64,
        mid_channels: int = 64,
        num_planes: int = 3,
        plane_act: str = 'relu',
        dropout: float = 0.15,
        dropout_each: bool = False,
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if not 0 <= dropout < 1:
            raise ValueError(f'dropout is {dropout}; give a share in [0, 1).')
        if plane_act not in PLANE_ACTS:
            raise ValueError(f"plane_act is {plane_act!r}; choose 'relu' or 'none'.")
        norm = dict(norm_cfg or dict(type='BN'))
        self.in_channels = tuple(in_channels)
        self.channels, self.num_planes = channels, num_planes
        self.plane_act, self.dropout, self.dropout_each = plane_act, dropout, dropout_each
        self.mix = nn.Conv2d(sum(self.in_channels), mid_channels, 3, padding=1, bias=False)
        self.mix_norm = build_norm_layer(norm, mid_channels)[1]
        self.lift = nn.Conv2d(mid_channels, num_planes * channels, 3, padding=1, bias=False)
        self.lift_norm = build_norm_layer(norm, num_planes * channels)[1]

    def forward(
        self,
        maps: Sequence[Tensor],
        size: tuple[int, int],
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Planes of height and width ``size``.

        Args:
            maps (Sequence[Tensor]): ``(B, C_i, h_i, w_i)``.
            size (tuple[int, int]): ``(Hp, Wp)``.
            generator (torch.Generator | None): Source of dropout; None: torch's own.
        """
        channels = tuple(m.shape[1] for m in maps)
        if channels != self.in_channels:
            raise ShapeError(
                f'TriplaneEncoder: the maps have {channels} channels, in_channels is '
                f'{self.in_channels}. Set in_channels={channels}.'
            )
        if len({m.shape[-2:] for m in maps}) > 1:
            maps = [resize_to_grid(m, size) for m in maps]
        x = torch.cat(list(maps), dim=1)
        x = F.relu(self.mix_norm(self.mix(x)))
        if self.dropout_each:
            x = self._drop(x, generator)
        x = self.lift_norm(self.lift(resize_to_grid(x, size)))
        if self.plane_act == 'relu':
            x = F.relu(x)
        x = self._drop(x, generator)
        return x.unflatten(1, (self.num_planes, self.channels))

    def _drop(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """Dropout, from a source of its own."""
        if not self.training or self.dropout == 0:
            return x
        draws = torch.rand(x.shape, device=x.device, generator=generator)
        return x * (draws >= self.dropout) / (1 - self.dropout)


def resize_to_grid(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, ``align_corners=False``; smoothed first where more than two cells become one."""
    height, width = x.shape[-2:]
    if (height, width) == tuple(size):
        return x
    coarser = height > 2 * size[0] or width > 2 * size[1]
    if coarser:  # the smoothing form has no half precision
        small = F.interpolate(at_least_float32(x), size=size, mode='bilinear', antialias=True)
        return small.to(x.dtype)
    return F.interpolate(x, size=size, mode='bilinear', align_corners=False)
