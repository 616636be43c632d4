"""Deformable mixer of DeMT: a map for every task out of a common one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdense.models.layers import DeformableConv1x1, checkpointed
from mmdense.registry import MODELS
from mmdense.structures import DenseFeatures

from .task_features import check_tasks, task_maps

MIXER_ORDERS = ('channel_first', 'spatial_first')


class MixerBranch(nn.Module):
    """A 1x1 convolution, GELU, batch norm. Children ``conv, norm``.

    Args:
        conv (nn.Module): From C to C channels.
        channels (int): C.
    """

    def __init__(self, conv: nn.Module, channels: int) -> None:
        super().__init__()
        self.conv = conv
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(F.gelu(self.conv(x)))


class MixerBlock(nn.Module):
    """Channel-aware mixing and a residual branch of deformable sampling.

    Children ``channel`` (1x1 convolution, GELU, batch norm) and ``spatial`` (deformable 1x1
    convolution, GELU, batch norm).

    Args:
        channels (int): C.
        mixer_order (str): ``'channel_first'``: ``y = channel(x)``, then ``y + spatial(y)``
            (released). ``'spatial_first'``: ``channel(x + spatial(x))`` (paper).
        offset_mode, offset_groups: As in :class:`DeformableMixer`.
    """

    def __init__(
        self, channels: int, mixer_order: str, offset_mode: str, offset_groups: int | None
    ) -> None:
        super().__init__()
        self.mixer_order = mixer_order
        self.channel = MixerBranch(nn.Conv2d(channels, channels, 1), channels)
        deformable = DeformableConv1x1(channels, offset_mode, offset_groups)
        self.spatial = MixerBranch(deformable, channels)

    def forward(self, x: Tensor) -> Tensor:
        if self.mixer_order == 'spatial_first':
            return self.channel(x + self.spatial(x))
        x = self.channel(x)
        return x + self.spatial(x)


@MODELS.register_module()
class DeformableMixer(nn.Module):
    """A chain of deformable mixer blocks for every task.

    Eqs. (2)-(5) of Xu et al., "DeMT: Deformable Mixer Transformer for Multi-Task Learning of
    Dense Prediction" (AAAI 2023). Differs from the paper by default: channel mixing comes
    first, as in the code that all published numbers come from. Differs from the code by
    default: offsets follow from the features alone and start at 0 (``offset_mode='content'``).

    Children: ``mixers.<task>.N.channel``, ``mixers.<task>.N.spatial``.

    Args:
        channels (int): C, in and out.
        tasks (Sequence[str]): Task names; injected by the model.
        depth (int): Blocks per task. Defaults to 1.
        mixer_order (str): ``'channel_first'`` (released code) or ``'spatial_first'`` (paper).
        offset_mode (str): ``'content'``, ``'absolute'`` (released code) or ``'direct'``; see
            :class:`~mmdense.models.layers.OffsetPredictor`.
        offset_groups (int | None): Channel groups with a displacement of their own, a divisor
            of C. None: C, or 8 for ``'direct'``.
        in_index (int): Which map of a task to read. Defaults to 0.
        with_cp (bool): Recompute the blocks in the backward pass. Defaults to False.

    Shape:
        - in: map ``in_index`` of each task, or of ``feats.shared`` where a task has none of
          its own: ``(B, C, h, w)``.
        - ``feats.per_task`` out: ``(B, C, h, w)`` for every task.

    Raises:
        ValueError: If an option is unknown or out of range.
        ShapeError: If a map has not C channels.
    """

    takes_features = True
    takes_tasks = True

    def __init__(
        self,
        channels: int,
        tasks: Sequence[str],
        depth: int = 1,
        mixer_order: str = 'channel_first',
        offset_mode: str = 'content',
        offset_groups: int | None = None,
        in_index: int = 0,
        with_cp: bool = False,
    ) -> None:
        super().__init__()
        if depth < 1:
            raise ValueError(f'DeformableMixer.depth is {depth}; need at least 1 block.')
        if mixer_order not in MIXER_ORDERS:
            raise ValueError(
                f'DeformableMixer.mixer_order is {mixer_order!r}; choose one of '
                f'{", ".join(map(repr, MIXER_ORDERS))}.'
            )
        self.channels = channels
        self.tasks = check_tasks('DeformableMixer', tasks)
        self.in_index = in_index
        self.with_cp = with_cp
        self.mixers = nn.ModuleDict()
        for task in self.tasks:
            blocks = (
                MixerBlock(channels, mixer_order, offset_mode, offset_groups) for _ in range(depth)
            )
            self.mixers[task] = nn.Sequential(*blocks)

    def forward(self, feats: DenseFeatures) -> DenseFeatures:
        maps = task_maps('DeformableMixer', feats, self.tasks, self.channels, self.in_index)
        mixed = {task: self._mix(task, x) for task, x in zip(self.tasks, maps)}
        return feats.replace(per_task={**feats.per_task, **mixed})

    def _mix(self, task: str, x: Tensor) -> Tensor:
        if self.with_cp and torch.is_grad_enabled():
            return checkpointed(self.mixers[task], x)
        return self.mixers[task](x)
