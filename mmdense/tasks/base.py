"""What a task is: everything in which two dense maps differ, in one object."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from mmdense.registry import TASKS
from mmdense.utils import DataError, suggest

from .drawing import Legend

Array = np.ndarray


class BaseTask(ABC):
    """One kind of dense map.

    Data pipeline, heads, losses, evaluator and visualiser ask the task; none of
    them knows the tasks by name. Losses and metrics are named by registry type, so
    a task imports neither.

    A *ground-truth array* is numpy ``(H, W)``, or ``(H, W, D)`` with D channels; a
    *prediction* is a tensor ``(B, num_channels, H, W)`` after :meth:`activate` (which may
    merge channels), which is what losses see; a *map* is what :meth:`decode` makes of it,
    ``(B, D, H, W)`` like the ground truth.

    Args:
        losses (list[dict] | None): Registry configs of the training losses. Each is
            called as ``loss(pred, target, valid_mask)``. None: ``default_losses``.
        metrics (list[dict] | None): Registry configs of the metrics. None:
            :meth:`default_metrics`.
    """

    #: Name in data, heads, losses, metrics, logs and file names.
    key: ClassVar[str]
    #: Names that other projects use, accepted on input.
    aliases: ClassVar[tuple[str, ...]] = ()
    #: Suffix of the fields in :class:`~mmdense.structures.DenseDataSample`.
    field: ClassVar[str]
    #: The metric that stands for the task in summaries and Delta_m.
    headline: ClassVar[str]
    #: Whether a larger headline is better.
    higher_is_better: ClassVar[bool]
    #: Channels of the ground truth.
    gt_channels: ClassVar[int] = 1
    #: Value that marks a pixel as unknown in ground-truth arrays.
    ignore_value: float
    #: numpy type of ground-truth arrays.
    dtype: ClassVar[type]
    #: How ground truth is resampled unless a transform is told otherwise.
    interpolation: ClassVar[str] = 'nearest'
    #: Ways in which it may be resampled; maps of integers are always moved by 'nearest'.
    interpolations: ClassVar[tuple[str, ...]] = ('nearest', 'linear')
    default_losses: ClassVar[Sequence[Mapping[str, Any]]]
    #: What a map holds: 'labels', 'depth', 'direction', 'probability' or 'values'.
    map_kind: ClassVar[str] = 'values'
    #: Names and colours ``(K, 3)`` of the classes, where a map holds labels.
    classes: tuple[str, ...] | None = None
    palette: Array | None = None

    def __init__(
        self,
        losses: Sequence[Mapping[str, Any]] | None = None,
        metrics: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        self.losses = [dict(cfg) for cfg in (self.default_losses if losses is None else losses)]
        self._metrics = None if metrics is None else [dict(cfg) for cfg in metrics]

    @property
    def prefix(self) -> str:
        """What the names of results begin with: the key, and the quantity where it may differ."""
        return self.key

    @property
    def map_unit(self) -> str:
        """Unit of the values of a map, '' where there is none."""
        return ''

    @property
    def convention(self) -> str:
        """One sentence that a reader of a map needs: axes, origin, what marks unknown pixels."""
        return f'plain numbers; {self.ignore_value:g} in every channel: unknown'

    # -- data ---------------------------------------------------------------

    def flip(self, gt: Array) -> Array:
        """Ground truth of the horizontally mirrored picture."""
        return gt[:, ::-1].copy()

    def zoom(self, gt: Array, factor: float) -> Array:
        """Change values for a picture enlarged ``factor`` times, as if seen from closer by.

        The pixels themselves are moved by the caller. Identity but for depth.
        """
        return gt

    def rotate(self, gt: Array, angle: float) -> Array:
        """Change values for an in-plane rotation by ``angle`` radians, counter-clockwise as seen.

        The pixels themselves are moved by the caller. Identity but for normals.
        """
        return gt

    def renormalize(self, gt: Array, valid: Array) -> Array:
        """Repair values after linear resampling; ``valid`` ``(H, W)`` was resampled by nearest."""
        return gt

    def after_geometry(self, gt: Array) -> Array:
        """Ground truth as it goes into the batch, once no transform moves it any more.

        Identity but for tasks in which what is left of the picture after cropping decides
        whether it says anything, such as human parts.
        """
        return gt

    @abstractmethod
    def valid(self, gt: Array) -> Array:
        """Pixels with a known value, ``(H, W)`` bool, of a ground-truth array."""

    def empty(self, size: tuple[int, int]) -> Array:
        """A ground-truth array of ``size`` in which every pixel is unknown."""
        shape = size if self.gt_channels == 1 else (*size, self.gt_channels)
        return np.full(shape, self.ignore_value, dtype=self.dtype)

    def check(self, gt: Array, where: str) -> Array:
        """Validate a ground-truth array that was just read.

        Args:
            gt (Array): What a data set read.
            where (str): File or index, for the message.

        Returns:
            Array: ``gt`` in the task's type.

        Raises:
            DataError: If shape or values are impossible for the task.
        """
        ndim = 2 if self.gt_channels == 1 else 3
        if gt.ndim != ndim or (ndim == 3 and gt.shape[2] != self.gt_channels):
            want = '(H, W)' if ndim == 2 else f'(H, W, {self.gt_channels})'
            raise DataError(
                f"{where}: ground truth of task '{self.key}' has shape {gt.shape}, expected {want}."
            )
        return gt.astype(self.dtype, copy=False)

    def to_tensor(self, gt: Array) -> Tensor:
        """Ground-truth array to a tensor ``(D, H, W)``."""
        chw = gt[None] if gt.ndim == 2 else gt.transpose(2, 0, 1)
        return torch.from_numpy(np.ascontiguousarray(chw))

    # -- model --------------------------------------------------------------

    @property
    @abstractmethod
    def num_channels(self) -> int:
        """Channels that a head predicts."""

    def valid_mask(self, target: Tensor) -> Tensor:
        """Pixels with a known value, ``(B, 1, H, W)`` bool, of a target ``(B, D, H, W)``."""
        return target != self.ignore_value

    def activate(self, logits: Tensor) -> Tensor:
        """Raw head output to a prediction, the domain the losses work in."""
        return logits

    @property
    def initial_bias(self) -> float:
        """Bias with which the last layer of a per-pixel head starts."""
        return 0.0

    def decode(self, pred: Tensor) -> Tensor:
        """Prediction to the final map."""
        return pred

    def to_average(self, pred: Tensor) -> Tensor:
        """Prediction to what may be averaged over several looks at one picture.

        :meth:`from_average` of it is the map that :meth:`decode` gives. The decoded map, unless
        its values cannot be averaged, as labels.
        """
        return self.decode(pred)

    def from_average(self, mean: Tensor) -> Tensor:
        """A mean of :meth:`to_average` to the final map."""
        return mean

    def mirror(self, mean: Tensor) -> Tensor:
        """What :meth:`to_average` gave of the mirrored picture, as of the picture itself."""
        return mean.flip(-1)

    # -- evaluation and pictures ----------------------------------------------

    def default_metrics(self) -> list[dict[str, Any]]:
        """Registry configs of the metrics if the config names none."""
        return []

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """Registry configs of the metrics."""
        configs = self.default_metrics() if self._metrics is None else self._metrics
        return copy.deepcopy(configs)

    @abstractmethod
    def best_constant(self, maps: Sequence[Array]) -> Array:
        """The constant value ``(D,)`` that scores best on the headline over ground-truth arrays."""

    @abstractmethod
    def colorize(self, value: Array, reference: Array | None = None) -> Array:
        """A map to a picture.

        Args:
            value (Array): ``(H, W)`` or ``(H, W, D)``.
            reference (Array | None): The array that sets the colour range, so that
                ground truth and prediction share one scale.

        Returns:
            Array: ``(H, W, 3)`` uint8, RGB; unknown pixels are black.
        """

    def legend(self, maps: Sequence[Array], reference: Array | None = None) -> Legend | None:
        """How to read the colours of :meth:`colorize`; None where nothing helps.

        Args:
            maps (Sequence[Array]): The maps that are drawn.
            reference (Array | None): As for :meth:`colorize`.
        """
        return None

    def name_classes(self, classes: Sequence[str]) -> None:
        """Take the class names of a data set where the config gives none."""
        return  # most tasks have no classes

    def error(self, pred: Array, gt: Array) -> Array:
        """How far a predicted map is off at each pixel, ``(H, W)`` float32, NaN where unknown.

        Mean of the absolute differences over channels, unless the task says otherwise.

        Args:
            pred (Array): Predicted map of the size of ``gt``.
            gt (Array): Ground-truth array.
        """
        off = np.abs(pred.astype(np.float32) - gt.astype(np.float32))
        off = off if off.ndim == 2 else off.mean(axis=-1)
        return np.where(self.valid(gt), off, np.float32(np.nan))

    def error_limit(self, gt: Array) -> float:
        """Error that is drawn darkest.

        It depends on the ground truth alone, so error maps of several models compare: a quarter
        of the span between its 1st and 99th percentile.
        """
        known = gt[self.valid(gt)]
        low, high = np.percentile(known, (1, 99)) if known.size else (0.0, 1.0)
        return 0.25 * float(high - low) or 1.0

    def describe_error(self, value: float) -> str:
        """An error, or a mean of errors, in a few letters."""
        return f'{value:.2g}'

    def outline(self, value: Array) -> Array | None:
        """Pixels of a map to mark in the picture, ``(H, W)`` bool; None: it has no outlines."""
        return None

    def describe(self, value: Array) -> str:
        """One value ``(D,)`` of the map in a few letters, for captions."""
        return ' '.join(f'{x:.2f}' for x in value)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(key={self.key!r}, num_channels={self.num_channels})'


def build_tasks(cfg: Mapping[str, Any]) -> dict[str, BaseTask]:
    """Build the tasks of a config, in its order.

    Args:
        cfg (Mapping): Task name to a config dict or a built task. Names are the keys
            of the tasks or their aliases (``edge`` for ``boundary``, ...).

    Returns:
        dict[str, BaseTask]: Task key to task.

    Raises:
        KeyError: If a name fits no task type, or not the type it is given.
        ValueError: If ``cfg`` is empty or names one task twice.
    """
    if not cfg:
        raise ValueError(
            '`tasks` is empty: name at least one task, for example '
            "tasks = dict(depth=dict(type='Depth'))."
        )
    tasks: dict[str, BaseTask] = {}
    for name, value in cfg.items():
        task = value if isinstance(value, BaseTask) else TASKS.build(dict(value))
        if name not in (task.key, *task.aliases):
            raise KeyError(
                f"tasks['{name}'] is a {type(task).__name__}, whose name is '{task.key}'. "
                f'{suggest(name, (task.key, *task.aliases))} Rename the entry.'
            )
        if task.key in tasks:
            raise ValueError(f"`tasks` names '{task.key}' twice (once as '{name}').")
        tasks[task.key] = task
    return tasks
