"""A linear map of every pixel with a layer norm, ahead or behind."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from mmdense.registry import MODELS
from mmdense.structures import DenseFeatures

from .task_features import check_channels


@MODELS.register_module()
class WidthReduction(nn.Module):
    """Reduces the width of every shared map per pixel.

    Eq. (1) of Xu et al., "DeMT: Deformable Mixer Transformer for Multi-Task Learning of
    Dense Prediction" (AAAI 2023): layer norm over the C input channels, then a linear map to
    C'. The released code has the linear map first and the norm over C'.

    Args:
        in_channels (int): C.
        channels (int): C'.
        order (str): ``'norm_linear'`` (paper) or ``'linear_norm'`` (released).

    Shape:
        - ``feats.shared`` in: one map ``(B, C, h, w)`` or several.
        - ``feats.shared`` out: as many, ``(B, C', h, w)``.

    Raises:
        ValueError: If ``order`` is unknown.
        ShapeError: If a map has not C channels.
    """

    takes_features = True

    def __init__(self, in_channels: int, channels: int, order: str = 'norm_linear') -> None:
        super().__init__()
        if order not in ('norm_linear', 'linear_norm'):
            raise ValueError(
                f"WidthReduction.order is {order!r}; choose 'norm_linear' or 'linear_norm'."
            )
        self.in_channels, self.channels, self.order = in_channels, channels, order
        self.norm = nn.LayerNorm(in_channels if order == 'norm_linear' else channels)
        self.linear = nn.Linear(in_channels, channels)

    def forward(self, feats: DenseFeatures) -> DenseFeatures:
        return feats.replace(shared=tuple(self._reduce(x) for x in feats.shared))

    def _reduce(self, x: Tensor) -> Tensor:
        check_channels('WidthReduction', x, self.in_channels)
        if self.order == 'norm_linear':
            y = self.linear(self.norm(x.permute(0, 2, 3, 1)))
            return y.permute(0, 3, 1, 2)
        # The same linear map as a 1x1 convolution, which reads the concatenated levels as they
        # are; only the C' channels have to be moved behind for the norm.
        y = F.conv2d(x, self.linear.weight[:, :, None, None], self.linear.bias)
        return self.norm(y.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
