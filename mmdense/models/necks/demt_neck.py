"""The five necks of DeMT as one."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from torch import nn

from mmdense.registry import MODELS
from mmdense.structures import DenseFeatures

from .deformable_mixer import DeformableMixer
from .multi_scale_fusion import MultiScaleFusion
from .task_interaction import TaskInteraction
from .task_query import TaskQuery
from .width_reduction import WidthReduction

#: What the released code does where it differs from the defaults.
RELEASED = dict(
    attention='pixel',
    offset_mode='absolute',
    pre_norm=False,
    mixer_order='channel_first',
    reduce_order='linear_norm',
)
_DEFAULTS = dict(
    attention='token',
    offset_mode='content',
    pre_norm=True,
    mixer_order='channel_first',
    reduce_order='norm_linear',
)


@MODELS.register_module()
class DeMTNeck(nn.Module):
    """Multi-scale fusion, width reduction, deformable mixers, task interaction, task query.

    Xu et al., "DeMT: Deformable Mixer Transformer for Multi-Task Learning of Dense
    Prediction" (AAAI 2023). The same parts can be listed one by one as necks; this one
    passes what they share to all of them and knows what the released code does.

    Differs from the paper by default: keys and values are pooled (``kv_stride=8``), and the
    mixers keep the order of the code. ``released=True`` is the model of the released
    checkpoints at one picture per batch: attention over the tasks at one pixel, absolute
    coordinates in the offsets, no layer norms ahead of the attention, the width reduced
    before its norm.

    Children: ``fusion``, ``reduction``, ``mixer``, ``interaction`` and ``query`` (absent if
    switched off).

    Args:
        in_channels (Sequence[int]): Channels of the backbone's maps, fine to coarse.
        channels (int): C', working width.
        tasks (Sequence[str]): Task names; injected by the model.
        in_index (Sequence[int] | None): Levels to fuse. None: all.
        num_heads (int): Attention heads. Defaults to 4.
        depth (int): Mixer blocks per task. Defaults to 1.
        attention, kv_stride, kv_grid, pre_norm: As in :class:`TaskInteraction` and
            :class:`TaskQuery`. None for ``attention`` and ``pre_norm``: ``'token'`` and True.
        offset_mode, offset_groups, mixer_order: As in :class:`DeformableMixer`. None:
            ``'content'``, and ``'channel_first'``.
        reduce_order (str | None): As ``order`` of :class:`WidthReduction`. None:
            ``'norm_linear'``.
        released (bool): Make ``None`` of the five options above mean what the released code
            does. Defaults to False.
        mixer, interaction, query (bool): Whether the part is there (the ablation of
            components). Without ``mixer`` all tasks get the same map.
        with_cp (bool): Recompute mixers and attention in the backward pass.

    Attributes:
        options (dict): The five options as they are in force.

    Shape:
        - ``feats.shared`` in: ``(B, in_channels[i], H_i, W_i)``, fine to coarse.
        - ``feats.shared`` out: one map ``(B, C', h, w)``.
        - ``feats.per_task`` out: ``(B, C', h, w)`` for every task; empty without ``mixer``,
          ``interaction`` and ``query``.

    Raises:
        ValueError: If an option is unknown, out of range, or without effect.
        ShapeError: If the maps are not those of ``in_channels``.

    Example:
        >>> neck = DeMTNeck((8, 16), 16, tasks=['semseg', 'depth'], released=True)
        >>> neck.options['attention']
        'pixel'
    """

    takes_features = True
    takes_tasks = True

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        tasks: Sequence[str],
        in_index: Sequence[int] | None = None,
        num_heads: int = 4,
        depth: int = 1,
        attention: str | None = None,
        kv_stride: int | None = None,
        kv_grid: tuple[int, int] | None = None,
        pre_norm: bool | None = None,
        offset_mode: str | None = None,
        offset_groups: int | None = None,
        mixer_order: str | None = None,
        reduce_order: str | None = None,
        released: bool = False,
        mixer: bool = True,
        interaction: bool = True,
        query: bool = True,
        with_cp: bool = False,
    ) -> None:
        super().__init__()
        given = dict(
            attention=attention,
            offset_mode=offset_mode,
            pre_norm=pre_norm,
            mixer_order=mixer_order,
            reduce_order=reduce_order,
        )
        preset: dict[str, Any] = RELEASED if released else _DEFAULTS
        self.options: dict[str, Any] = {
            key: preset[key] if value is None else value for key, value in given.items()
        }
        self.tasks = tuple(tasks)
        self.channels = channels
        self.fusion = MultiScaleFusion(in_channels, in_index)
        self.reduction = WidthReduction(
            self.fusion.channels[0], channels, self.options['reduce_order']
        )
        self.mixer = self.interaction = self.query = None
        if mixer:
            self.mixer = DeformableMixer(
                channels,
                tasks,
                depth=depth,
                mixer_order=self.options['mixer_order'],
                offset_mode=self.options['offset_mode'],
                offset_groups=offset_groups,
                with_cp=with_cp,
            )
        across: dict[str, Any] = dict(
            num_heads=num_heads,
            attention=self.options['attention'],
            kv_stride=kv_stride,
            kv_grid=kv_grid,
            pre_norm=self.options['pre_norm'],
            with_cp=with_cp,
        )
        if interaction:
            self.interaction = TaskInteraction(channels, tasks, **across)
        if query:
            self.query = TaskQuery(channels, tasks, **across)

    def forward(self, feats: DenseFeatures) -> DenseFeatures:
        for neck in self.children():
            feats = neck(feats)
        return feats

    def warn_unless_released(self, source: str) -> None:
        """Warn if a released checkpoint is loaded into other settings than it was trained with."""
        same = {**RELEASED, 'attention': self.options['attention']}
        if self.options['attention'] == 'token':
            same['attention'] = RELEASED['attention']
        other = {key: value for key, value in self.options.items() if value != same[key]}
        if other:
            warnings.warn(
                f'DeMTNeck: {source} is a released checkpoint, trained with {RELEASED}; this '
                f'model has {other}, so that its weights mean something else here. Set '
                '`released=True` on the neck.',
                stacklevel=3,
            )
