"""Batch norm constants, and batch norm as the affine map it is at inference."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class BNSettings:
    """Constants of every batch norm of a network.

    The norms made of them are plain ``nn.BatchNorm1d/2d``, which
    ``nn.SyncBatchNorm.convert_sync_batchnorm`` and mmengine's ``sync_bn`` setting convert.

    Attributes:
        eps (float): Added to the variance.
        momentum (float): Share of the new batch in the running statistics.
    """

    eps: float = 1e-3
    momentum: float = 0.01

    def norm1d(self, channels: int) -> nn.BatchNorm1d:
        """Batch norm of ``(N, C)`` or ``(N, C, L)``."""
        return nn.BatchNorm1d(channels, eps=self.eps, momentum=self.momentum)

    def norm2d(self, channels: int) -> nn.BatchNorm2d:
        """Batch norm of ``(N, C, H, W)``."""
        return nn.BatchNorm2d(channels, eps=self.eps, momentum=self.momentum)


def eval_affine(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Scale and shift, ``(C,)`` each, that a batch norm applies in eval mode.

    Raises:
        ValueError: If it keeps no running statistics.
    """
    mean, var = norm.running_mean, norm.running_var
    if mean is None or var is None:
        raise ValueError('eval_affine: the batch norm keeps no running statistics to apply.')
    scale = norm.weight * (var + norm.eps).rsqrt()
    return scale, norm.bias - mean * scale
