"""Neural discriminative dimensionality reduction: fusion of the maps of several networks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .cross_stitch import check_maps, mixing_weights


class NDDRLayer(nn.Module):
    """Every task's map becomes a 1x1 convolution of all, with batch norm and ReLU.

    Gao et al., "NDDR-CNN: Layerwise Feature Fusing in Multi-Task CNNs by Neural Discriminative
    Dimensionality Reduction" (CVPR 2019), section 3.2. The convolutions of the T tasks read the
    same concatenated maps, so they are one with T * C outputs, and so are their batch norms.

    Parameters: ``conv.weight`` ``(T * C, T * C, 1, 1)``, receiving task first, then its channels;
    ``norm`` with T * C channels.

    Args:
        num_tasks (int): T.
        channels (int): C.
        alpha (float): Initial weight of the own map. Defaults to 0.9.
        beta (float | None): Initial weight of each other map. None: ``(1 - alpha) / (T - 1)``.
            Defaults to None.
        momentum (float): Momentum of the batch norm. Defaults to 0.05.

    Shape:
        - input and output: T maps ``(B, C, H, W)``, in the order of the tasks.

    Raises:
        ValueError: If ``num_tasks`` is below 1.
        ShapeError: If maps differ from each other or from the above.
    """

    def __init__(
        self,
        num_tasks: int,
        channels: int,
        alpha: float = 0.9,
        beta: float | None = None,
        momentum: float = 0.05,
    ) -> None:
        super().__init__()
        self.num_tasks = num_tasks
        self.channels = channels
        self.alpha, self.beta = mixing_weights('NDDRLayer', num_tasks, alpha, beta)
        width = num_tasks * channels
        self.conv = nn.Conv2d(width, width, 1, bias=False)
        self.norm = nn.BatchNorm2d(width, momentum=momentum)
        self.act = nn.ReLU(inplace=True)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """``alpha`` times the identity from the own map, ``beta`` times it from the others."""
        with torch.no_grad():
            blocks = self.conv.weight.unflatten(1, (self.num_tasks, -1))
            blocks = blocks.unflatten(0, (self.num_tasks, -1))[..., 0, 0].transpose(1, 2)
            blocks.zero_()
            blocks.diagonal(dim1=2, dim2=3).fill_(self.beta)
            blocks.diagonal(dim1=0, dim2=1).diagonal(dim1=0, dim2=1).fill_(self.alpha)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        check_maps('NDDRLayer', maps, self.num_tasks, self.channels)
        return self.act(self.norm(self.conv(torch.cat(tuple(maps), dim=1)))).chunk(
            self.num_tasks, dim=1
        )
