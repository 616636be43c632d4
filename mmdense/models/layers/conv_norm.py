"""Convolution or linear map, batch norm, exact GELU."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from .batch_norm import BNSettings, eval_affine
from .init import he_trunc_normal_, trunc_normal_

WeightInit = Literal['he', 'xavier'] | float


def init_weight_(weight: Tensor, how: WeightInit) -> None:
    """Initialise a kernel: He truncated normal, Xavier uniform, or truncated normal of a std."""
    if how == 'he':
        he_trunc_normal_(weight)
    elif how == 'xavier':
        nn.init.xavier_uniform_(weight)
    else:
        trunc_normal_(weight, float(how))


class ConvNorm(nn.Module):
    """Convolution, batch norm and, if asked, the exact GELU.

    Children in this order: ``conv``, ``bn``. Padding keeps the size at stride 1.

    Args:
        in_channels (int): Input channels.
        out_channels (int): Output channels.
        kernel_size (int): Odd kernel size. Defaults to 1.
        dilation (int): Dilation. Defaults to 1.
        groups (int): Groups; ``in_channels`` makes the convolution depthwise. Defaults to 1.
        bias (bool): Whether the convolution has a bias, initialised to 0. Defaults to False.
        act (bool): Whether GELU follows. Defaults to True.
        bn (BNSettings): Batch norm constants.
        gamma (float): Initial scale of the batch norm. Defaults to 1.
        init (str | float): ``'he'``, ``'xavier'`` or the std of a truncated normal.

    Shape:
        - input: ``(B, in_channels, H, W)``.
        - output: ``(B, out_channels, H, W)``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        *,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = False,
        act: bool = True,
        bn: BNSettings = BNSettings(),  # noqa: B008  (frozen)
        gamma: float = 1.0,
        init: WeightInit = 'he',
    ) -> None:
        super().__init__()
        self.act = act
        self.gamma = gamma
        self.init = init
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            padding=dilation * (kernel_size // 2),
            dilation=dilation,
            groups=groups,
            bias=bias,
        )
        self.bn: nn.BatchNorm2d | nn.Identity = bn.norm2d(out_channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise kernel, bias and batch norm scale."""
        init_weight_(self.conv.weight, self.init)
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)
        if not isinstance(self.bn, nn.Identity):
            nn.init.constant_(self.bn.weight, self.gamma)

    def eval_kernel(self) -> tuple[Tensor, Tensor]:
        """Kernel and shift of the affine map this layer is in eval mode, before the GELU.

        Differentiable, unlike the tensors that :meth:`fold_batch_norm` leaves.
        """
        weight, bias = self.conv.weight, self.conv.bias
        if bias is None:
            bias = weight.new_zeros(len(weight))
        if isinstance(self.bn, nn.Identity):
            return weight, bias
        scale, shift = eval_affine(self.bn)
        return weight * scale[:, None, None, None], shift + scale * bias

    def fold_batch_norm(self) -> None:
        """Merge the batch norm into the convolution, for inference."""
        if not isinstance(self.bn, nn.Identity):
            self.conv = fuse_conv_bn_eval(self.conv, self.bn)
            self.bn = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.conv(x))
        return F.gelu(x) if self.act else x


class LinearNorm(nn.Module):
    """Bias-free linear map, batch norm over batch and tokens, and, if asked, the exact GELU.

    The same as a 1x1 convolution of the transposed input followed by batch norm.
    Children in this order: ``linear``, ``bn``.

    Args:
        in_channels (int): Input width.
        out_channels (int): Output width.
        act (bool): Whether GELU follows. Defaults to True.
        bn (BNSettings): Batch norm constants.
        gamma (float): Initial scale of the batch norm. Defaults to 1.
        init (str | float): ``'he'``, ``'xavier'`` or the std of a truncated normal.

    Shape:
        - input: ``(B, K, in_channels)``.
        - output: ``(B, K, out_channels)``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        act: bool = True,
        bn: BNSettings = BNSettings(),  # noqa: B008  (frozen)
        gamma: float = 1.0,
        init: WeightInit = 'he',
    ) -> None:
        super().__init__()
        self.act = act
        self.gamma = gamma
        self.init = init
        self.linear = nn.Linear(in_channels, out_channels, bias=False)
        self.bn: nn.BatchNorm1d | nn.Identity = bn.norm1d(out_channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise weight and batch norm scale."""
        init_weight_(self.linear.weight, self.init)
        if not isinstance(self.bn, nn.Identity):
            nn.init.constant_(self.bn.weight, self.gamma)

    def fold_batch_norm(self) -> None:
        """Merge the batch norm into the linear map, for inference."""
        if not isinstance(self.bn, nn.Identity):
            self.linear = fuse_linear_bn_eval(self.linear, self.bn)
            self.bn = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.linear(x)
        x = self.bn(x.flatten(0, 1)).view(x.shape)
        return F.gelu(x) if self.act else x
