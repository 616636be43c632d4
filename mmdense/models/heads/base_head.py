"""What a head is: features of one task to its map and its losses."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdense.models.losses.functional import resize
from mmdense.registry import MODELS
from mmdense.structures import DenseFeatures
from mmdense.tasks import BaseTask, build_tasks
from mmdense.utils import ShapeError


def loss_name(loss: nn.Module) -> str:
    """Log name of a loss: ``SILogLoss`` is ``loss_silog``, ``MaskedL1Loss`` ``loss_masked_l1``."""
    stem = type(loss).__name__.removesuffix('Loss')
    return f'loss_{re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", stem).lower()}'


def unique_names(names: Sequence[str]) -> list[str]:
    """Names with ``_1``, ``_2``, ... appended to repeats.

    Example:
        >>> unique_names(['loss_a', 'loss_b', 'loss_a'])
        ['loss_a', 'loss_b', 'loss_a_1']
    """
    repeats = [names[:i].count(name) for i, name in enumerate(names)]
    return [f'{name}_{n}' if n else name for name, n in zip(names, repeats)]


class BaseDenseHead(BaseModule):
    """Base of heads.

    A subclass writes :meth:`forward`. What its output means, which losses it is trained with
    and how many channels it has are asked of the task.

    Args:
        task (BaseTask): Injected by the model.
        in_channels (int | Sequence[int]): Channels of the maps that ``in_index`` selects.
        in_index (int | Sequence[int] | str): Which maps to read, fine to coarse; negative
            counts from the coarsest; ``'all'`` for every map.
        losses (Sequence[dict] | None): Registry configs of the losses; None: the task's.
        align_corners (bool | None): For bilinear resizing. None: decided by the input width
            (see :class:`~mmdense.structures.DenseFeatures`).
        dropout_ratio (float): Channel dropout before the last layer, where a head has one.
        intermediate_weight (float): Factor on the losses of ``feats.intermediate``, the
            predictions that a neck wants supervised.
        intermediate_reduction (str | None): ``'mean'`` (CTAL) or ``'sum'`` (MTI-Net): the losses of
            the intermediate predictions become one, ``loss_init``, their mean or sum, beside
            ``loss_final``, the sum of the losses of the final prediction. None: every loss of
            every prediction keeps its name; together they count as ``'sum'``.
        intermediate_task (dict | None): A variant of the task, such as ``BinnedDepth`` of
            ``Depth``, that says what the intermediate predictions mean and what they are
            trained with (ATRC). None: the task and the losses of the final prediction.
        init_cfg (dict | None): Initialisation config of mmengine.

    Raises:
        ValueError: If ``in_channels`` and ``in_index`` differ in number, or
            ``intermediate_reduction`` is unknown.
        KeyError: If ``intermediate_task`` is another task than that of the head.
    """

    def __init__(
        self,
        task: BaseTask,
        in_channels: int | Sequence[int],
        in_index: int | Sequence[int] | str = 0,
        losses: Sequence[Mapping[str, Any]] | None = None,
        align_corners: bool | None = None,
        dropout_ratio: float = 0.0,
        intermediate_weight: float = 1.0,
        intermediate_reduction: str | None = None,
        intermediate_task: Mapping[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.task = task
        if intermediate_reduction not in (None, 'mean', 'sum'):
            raise ValueError(
                f'{self.config_key}.intermediate_reduction is {intermediate_reduction!r}; choose '
                "'mean', 'sum' or None."
            )
        self.intermediate_reduction = intermediate_reduction
        self.in_channels = (in_channels,) if isinstance(in_channels, int) else tuple(in_channels)
        self.in_index = self._indices(in_index)
        self.align_corners = align_corners
        self.intermediate_weight = intermediate_weight
        self.dropout: nn.Module = (
            nn.Dropout2d(dropout_ratio) if dropout_ratio > 0 else nn.Identity()
        )
        configs = task.losses if losses is None else losses
        self.losses = nn.ModuleList(MODELS.build(dict(cfg)) for cfg in configs)
        self._loss_names = unique_names([loss_name(loss) for loss in self.losses])
        self.intermediate_task = task
        # Registered only where they are not those of the final prediction.
        self.losses_of_intermediate: nn.ModuleList | None = None
        if intermediate_task is not None:
            self.intermediate_task = build_tasks({task.key: intermediate_task})[task.key]
            configs = self.intermediate_task.losses
            self.losses_of_intermediate = nn.ModuleList(MODELS.build(dict(c)) for c in configs)

    def init_weights(self) -> None:
        """Apply ``init_cfg``; what the constructor initialised is not drawn again."""
        for module in self.modules():
            # mmcv's layers, which would draw anew and overwrite what `init_cfg` says.
            if not isinstance(module, BaseModule) and hasattr(module, 'init_weights'):
                module.is_init = True
        super().init_weights()

    @property
    def config_key(self) -> str:
        """How a config calls this head, for messages."""
        return f"heads['{self.task.key}']"

    @abstractmethod
    def forward(self, feats: DenseFeatures) -> Tensor:
        """Raw output ``(B, num_channels, h, w)`` at the head's own resolution."""

    def loss(self, feats: DenseFeatures, target: Tensor, valid_mask: Tensor) -> dict[str, Tensor]:
        """Training losses.

        Args:
            feats (DenseFeatures): After the last neck.
            target (Tensor): ``(B, gt_channels, H, W)``.
            valid_mask (Tensor): ``(B, 1, H, W)`` bool.

        Returns:
            dict[str, Tensor]: ``loss_<name>`` of the prediction, ``aux{i}.loss_<name>`` of
            the i-th intermediate prediction; with ``intermediate_reduction`` ``loss_final`` and, if
            there are intermediate predictions, ``loss_init``.
        """
        pred = self._enlarge(self.forward(feats), feats, target)
        final = self.named_losses(pred, target, valid_mask)
        auxiliary = self.intermediate_losses(feats, target, valid_mask)
        return self.reduce_intermediate({**final, **auxiliary})

    def predict(self, feats: DenseFeatures, size: tuple[int, int]) -> Tensor:
        """Prediction ``(B, num_channels, *size)`` in the domain of the losses."""
        logits = resize(self.forward(feats), size, self.corners(feats))
        return self.task.activate(logits)

    def explain(self, feats: DenseFeatures) -> dict[str, tuple[Tensor, Tensor]]:
        """Maps that are worth looking at, by name; none here.

        Returns:
            dict: Name to maps ``(B, K, h, w)`` in [0, 1], and what each stands for
            ``(B, K, D)``, in the form that ``task.describe`` takes.
        """
        return {}

    def named_losses(
        self,
        pred: Tensor,
        target: Tensor,
        valid_mask: Tensor,
        prefix: str = '',
        weight: float = 1.0,
    ) -> dict[str, Tensor]:
        """Each configured loss of one prediction in the domain of the losses.

        With a ``prefix`` the prediction is auxiliary: losses that are ``final_only`` are
        left out.
        """
        names, losses = self._loss_names, self.losses
        if prefix and self.losses_of_intermediate is not None:
            losses = self.losses_of_intermediate
            names = unique_names([loss_name(loss) for loss in losses])
        return {
            prefix + name: weight * loss(pred, target, valid_mask)
            for name, loss in zip(names, losses)
            if not (prefix and getattr(loss, 'final_only', False))
        }

    def intermediate_losses(
        self, feats: DenseFeatures, target: Tensor, valid_mask: Tensor, first: int = 0
    ) -> dict[str, Tensor]:
        """Losses of what necks left in ``feats.intermediate``, numbered from ``first``."""
        named: dict[str, Tensor] = {}
        for index, logits in enumerate(feats.intermediate.get(self.task.key, ()), start=first):
            if logits.shape[1] != self.intermediate_task.num_channels:
                raise ShapeError(
                    f'{self.config_key}: intermediate prediction {index} has {logits.shape[1]} '
                    f'channels, {self.intermediate_task} needs '
                    f'{self.intermediate_task.num_channels}. Set `intermediate_task` to the '
                    'variant of the task that the neck predicts.'
                )
            pred = self._enlarge(logits, feats, target, self.intermediate_task)
            named |= self.named_losses(
                pred, target, valid_mask, f'aux{index}.', self.intermediate_weight
            )
        return named

    def reduce_intermediate(self, named: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses as they are, or two of them (see ``intermediate_reduction``)."""
        if self.intermediate_reduction is None:
            return named
        final = [value for name, value in named.items() if not name.startswith('aux')]
        auxiliary = {name: value for name, value in named.items() if name.startswith('aux')}
        reduced = dict(loss_final=torch.stack(final).sum())
        if auxiliary:
            total = torch.stack(list(auxiliary.values())).sum()
            predictions = len({name.partition('.')[0] for name in auxiliary})
            mean = self.intermediate_reduction == 'mean'
            reduced['loss_init'] = total / predictions if mean else total
        return reduced

    def corners(self, feats: DenseFeatures) -> bool:
        """``align_corners`` of this forward pass."""
        return feats.align_corners if self.align_corners is None else self.align_corners

    def select(self, feats: DenseFeatures) -> tuple[Tensor, ...]:
        """The maps this head reads.

        Raises:
            ShapeError: If there are fewer maps than ``in_index`` names, or if one has not
                the channels of the config.
        """
        maps = feats.maps_for(self.task.key)
        if self.in_index is None:
            chosen = maps
        else:
            if max(i if i >= 0 else ~i for i in self.in_index) >= len(maps):
                raise ShapeError(
                    f'{self.config_key}.in_index is {self.in_index}, but the neck gives '
                    f'{len(maps)} maps. Lower the index or change the neck.'
                )
            chosen = tuple(maps[i] for i in self.in_index)
        channels = tuple(m.shape[1] for m in chosen)
        if channels != self.in_channels:
            raise ShapeError(
                f'{self.config_key}: the maps it reads have {channels} channels, in_channels is '
                f'{self.in_channels}. Set in_channels={channels}.'
            )
        return chosen

    def _enlarge(
        self,
        logits: Tensor,
        feats: DenseFeatures,
        target: Tensor,
        task: BaseTask | None = None,
    ) -> Tensor:
        """Logits at the size of the target, in the domain of the losses of ``task``."""
        size = (target.shape[-2], target.shape[-1])
        return (task or self.task).activate(resize(logits, size, self.corners(feats)))

    def _indices(self, in_index: int | Sequence[int] | str) -> tuple[int, ...] | None:
        """``in_index`` as a tuple; None for all maps."""
        if in_index == 'all':
            return None
        if isinstance(in_index, str):
            raise ValueError(
                f"{self.config_key}.in_index is {in_index!r}; give an index, a list, or 'all'."
            )
        indices = (in_index,) if isinstance(in_index, int) else tuple(in_index)
        if len(indices) != len(self.in_channels):
            raise ValueError(
                f'{self.config_key}: in_index {indices} selects {len(indices)} maps, in_channels '
                f'{self.in_channels} describes {len(self.in_channels)}. Give one number of '
                'channels per map.'
            )
        return indices
