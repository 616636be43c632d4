"""Depth as a soft choice among adaptive bins."""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from mmdense.models.losses.functional import at_least_float32
from mmdense.registry import MODELS
from mmdense.tasks import BaseTask

from .cluster_head import ClusterHead

BIN_CENTERS = ('sigmoid', 'log_sigmoid', 'adabins', 'softplus')


@MODELS.register_module()
class ClusterBinDepthHead(ClusterHead):
    """Depth head of PolyMaX: K range maps times K bin centres that adapt to the picture.

    The paper does not say how bin centres are bounded. Forms, with o_k the raw centre:

    - ``'sigmoid'``: ``min + (max - min) * sigmoid(o_k)``, as ViP-DeepLab bounds its depth.
    - ``'log_sigmoid'``: the same in log depth.
    - ``'adabins'``: softmax over k gives bin widths that fill the range; centres are the
      mid-points of their cumulative sum (Bhat et al., CVPR 2021). The only form in which the
      order of the clusters matters.
    - ``'softplus'``: > 0, unbounded.

    Changing the range between pretraining and fine-tuning changes the meaning of o_k:
    re-initialise the output layers of the values then.

    Args:
        task (BaseTask): Injected by the model.
        in_channels (Sequence[int]): Channels of the maps, fine to coarse.
        num_clusters (int): K; the paper's choice of 16 is best by a small margin.
        min_depth (float | None): Lower end of the range, metres. None: the task's.
        max_depth (float | None): Upper end, metres. None: the task's.
        bin_centers (str): One of the forms above.
        **kwargs: As in :class:`ClusterHead`, but for what this head fixes
            (``out_channels``, ``activation``, ``value_range``, ``normalize_output``).

    Shape:
        - output: ``(B, 1, h, w)``, metres.

    Raises:
        ValueError: If ``bin_centers`` is unknown, if the range is empty, unknown or
            negative, or if it starts at 0 with ``'log_sigmoid'``.
    """

    def __init__(
        self,
        task: BaseTask,
        in_channels: int | Sequence[int],
        num_clusters: int = 16,
        min_depth: float | None = None,
        max_depth: float | None = None,
        bin_centers: str = 'sigmoid',
        **kwargs: Any,
    ) -> None:
        where = f"heads['{task.key}']"
        if bin_centers not in BIN_CENTERS:
            raise ValueError(
                f'{where}.bin_centers is {bin_centers!r}; choose one of {BIN_CENTERS}.'
            )
        low = getattr(task, 'min_depth', None) if min_depth is None else min_depth
        high = getattr(task, 'max_depth', None) if max_depth is None else max_depth
        if low is None or high is None:
            raise ValueError(
                f"{where}: task '{task.key}' has no depth range; give min_depth and max_depth in "
                'metres.'
            )
        if not 0 <= low < high or (bin_centers == 'log_sigmoid' and low == 0):
            raise ValueError(
                f'{where}: min_depth={low}, max_depth={high} is no range for '
                f'bin_centers={bin_centers!r}; need 0 <= min_depth < max_depth in metres, and '
                "min_depth > 0 for 'log_sigmoid'."
            )
        value_range = (log(low), log(high)) if bin_centers == 'log_sigmoid' else (low, high)
        super().__init__(
            task,
            in_channels,
            num_clusters,
            out_channels=1,
            activation='sigmoid',
            value_range=value_range,
            **kwargs,
        )
        self.min_depth = low
        self.max_depth = high
        self.bin_centers = bin_centers

    def activate_values(self, values: Tensor) -> Tensor:
        """Raw centres ``(B, K, 1)`` to bin centres in metres, fp32."""
        if self.bin_centers == 'softplus':
            return F.softplus(at_least_float32(values))
        if self.bin_centers == 'adabins':
            widths = at_least_float32(values).softmax(dim=1)
            middles = widths.cumsum(dim=1) - widths / 2
            return self.min_depth + (self.max_depth - self.min_depth) * middles
        centers = super().activate_values(values)
        return centers.exp() if self.bin_centers == 'log_sigmoid' else centers
