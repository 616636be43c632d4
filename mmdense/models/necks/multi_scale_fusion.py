"""All levels of a backbone as one map."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from mmdense.models.layers import concat_levels
from mmdense.registry import MODELS
from mmdense.structures import DenseFeatures

from .task_features import check_levels


@MODELS.register_module()
class MultiScaleFusion(nn.Module):
    """Resizes the levels bilinearly to the finest of them and concatenates them.

    The fusion of HRNetV2, ATRC and DeMT; no parameters.

    Args:
        in_channels (Sequence[int]): Channels of all levels, fine to coarse: the ``channels``
            of the backbone.
        in_index (Sequence[int] | None): Levels to take, fine to coarse; negative counts from
            the coarsest. None: all.
        align_corners (bool | None): For the resizing. None: decided by the input width (see
            :class:`~mmdense.structures.DenseFeatures`). Defaults to False, as DeMT and ATRC.

    Attributes:
        channels (tuple[int]): Channels of the one map that comes out.

    Shape:
        - ``feats.shared`` in: ``(B, in_channels[i], H_i, W_i)``, fine to coarse.
        - ``feats.shared`` out: one map ``(B, C, H, W)`` of the finest level taken; C is the sum
          of the channels taken.

    Raises:
        ValueError: If ``in_index`` names a level twice or one that does not exist.
        ShapeError: If the maps are not those of ``in_channels``.
    """

    takes_features = True

    def __init__(
        self,
        in_channels: Sequence[int],
        in_index: Sequence[int] | None = None,
        align_corners: bool | None = False,
    ) -> None:
        super().__init__()
        self.in_channels = tuple(in_channels)
        levels = range(len(self.in_channels))
        chosen = tuple(levels) if in_index is None else tuple(in_index)
        if not chosen or not all(-len(levels) <= i < len(levels) for i in chosen):
            raise ValueError(
                f'MultiScaleFusion: in_index={chosen} for {len(levels)} levels; give indices in '
                f'{-len(levels)}..{len(levels) - 1}.'
            )
        self.in_index = tuple(levels[i] for i in chosen)
        if len(set(self.in_index)) != len(self.in_index):
            raise ValueError(f'MultiScaleFusion: in_index={chosen} names a level twice.')
        self.align_corners = align_corners
        self.channels = (sum(self.in_channels[i] for i in self.in_index),)

    def forward(self, feats: DenseFeatures) -> DenseFeatures:
        check_levels('MultiScaleFusion', feats.shared, self.in_channels)
        corners = feats.align_corners if self.align_corners is None else self.align_corners
        maps = [feats.shared[i] for i in self.in_index]
        return feats.replace(shared=(concat_levels(maps, corners),))
