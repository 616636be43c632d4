"""What a regularizer of features is."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, TypeVar, cast

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from mmdense.models.layers import ConstructorInitModule
from mmdense.models.losses.functional import resize
from mmdense.registry import MODELS
from mmdense.structures import DenseFeatures
from mmdense.tasks import BaseTask
from mmdense.utils import ShapeError, suggest

from .ramp import Ramp
from .run_clock import RunClock, step_generator
from .targets import TargetReader, size_of_samples

_T = TypeVar('_T')
LOSS_WEIGHTS = ('inherit', 'ones')


class AuxiliaryMaps(NamedTuple):
    """What a regularizer predicts.

    Attributes:
        logits (dict): Task to raw maps ``(B, num_channels, h, w)``.
        box (tuple | None): Top, left, height and width, in pixels of the input, of what they
            show; None: all of it.
        state (Any): What :meth:`FeatureRegularizer.further` wants of it.
    """

    logits: dict[str, Tensor]
    box: tuple[int, int, int, int] | None = None
    state: Any = None


class FeatureRegularizer(ConstructorInitModule):
    """Base of losses on features of a host model, in training only.

    A subclass ends its constructor with :meth:`ready`, makes its layers in :meth:`build`,
    which is told the channels of the features, and predicts maps of the tasks from them in
    :meth:`predict`. Each map is resized to the
    input and gets the task's own losses, times ``lambda_t`` and a weight ``alpha`` that grows
    from 0 linearly. The host is not changed: its features are read by a forward hook (see
    :mod:`~.attach`), and at inference nothing of this exists.

    Args:
        tasks (Mapping[str, BaseTask]): Task key to task. In a config: ``'all'`` tasks of the
            host, a list of their keys, or a mapping of task configs.
        feature (str): Dotted name of the host's submodule whose output is read.
        in_index (int | Sequence[int] | str): Which of its maps, or ``'all'``.
        in_channels (int | Sequence[int] | None): Channels of these maps. None: found out by
            a forward pass on zeros before training.
        in_key (str | None): Key of the output, if that is a dict.
        adapter (dict | None): Config of a module from each output to a map, such as
            :class:`~.tokens_to_map.TokensToMap`.
        calls (str | None): ``'first'`` or ``'last'``: which output to read of a module that
            runs several times in a step. None: that is an error.
        losses (Mapping[str, Sequence[dict]] | None): Task key to configs of its losses, where
            they are not the task's own.
        loss_weights (Mapping[str, float] | str): ``lambda_t`` per task. ``'inherit'``: those
            of the host's ``FixedWeights`` balancer, else 1. ``'ones'``.
        targets (Mapping[str, str] | None): Task key to the field of a data sample that holds
            its ground truth, where that is not ``gt_<field of the task>``.
        alpha_max (float): Weight after the ramp, at least 0.
        ramp_iters (int | None): Length of the ramp in iterations (with gradient
            accumulation: forward passes).
        ramp_fraction (float | None): Its length as a share of the run, instead.
        fold_into_tasks (bool): Whether the losses count as losses of the host's tasks, for
            methods that need one loss per task; ``lambda_t`` is then the balancer's.
        name (str): Prefix of the losses' names.
        init_cfg (dict | None): Initialisation config of mmengine.

    Raises:
        ValueError: If a number is out of range or a word unknown.
    """

    #: Name under which a hook attaches it if the config gives none.
    default_name: ClassVar[str] = 'regularizer'

    def __init__(
        self,
        tasks: Mapping[str, BaseTask],
        feature: str = 'backbone',
        in_index: int | Sequence[int] | str = 'all',
        in_channels: int | Sequence[int] | None = None,
        in_key: str | None = None,
        adapter: dict[str, Any] | None = None,
        calls: str | None = None,
        losses: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
        loss_weights: Mapping[str, float] | str = 'inherit',
        targets: Mapping[str, str] | None = None,
        alpha_max: float = 4.0,
        ramp_iters: int | None = None,
        ramp_fraction: float | None = None,
        fold_into_tasks: bool = False,
        name: str | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.name = name or self.default_name
        self.tasks = dict(tasks)
        self.feature, self.in_key, self.calls = feature, in_key, calls
        self.in_index = in_index
        self.fold_into_tasks = fold_into_tasks
        self.ramp = Ramp(self.key('{}'), alpha_max, ramp_iters, ramp_fraction)
        self.loss_weights = self._check_weights(loss_weights)
        if calls not in (None, 'first', 'last'):
            raise ValueError(f"{self.key('calls')}={calls!r}; choose 'first', 'last' or None.")
        if isinstance(in_index, str) and in_index != 'all':
            raise ValueError(f"{self.key('in_index')}={in_index!r}; give numbers or 'all'.")
        self.adapter = MODELS.build(adapter) if adapter else None
        chosen = {key: task.losses for key, task in self.tasks.items()} | dict(losses or {})
        self.task_losses = nn.ModuleDict({
            key: nn.ModuleList(MODELS.build(dict(cfg)) for cfg in chosen[key])
            for key in self.tasks
        })  # fmt: skip
        self.reader = TargetReader(self.tasks, dict(targets or {}))
        #: Set by who knows the run better than the message hub.
        self.clock: RunClock | None = None
        self.in_channels: tuple[int, ...] | None = None
        self._given = (in_channels,) if isinstance(in_channels, int) else in_channels

    def key(self, argument: str) -> str:
        """How a config calls an argument, for messages."""
        return f'regularizers.{self.name}.{argument}'

    def _check_weights(self, weights: Mapping[str, float] | str) -> Mapping[str, float] | str:
        if isinstance(weights, str):
            if weights not in LOSS_WEIGHTS:
                raise ValueError(
                    f"{self.key('loss_weights')}={weights!r}; choose 'inherit', 'ones' or a dict."
                )
            return weights
        for task in weights:
            if task not in self.tasks:
                raise ValueError(f'{self.key("loss_weights")}: {suggest(task, self.tasks)}')
        return dict(weights)

    # -- what a subclass writes --------------------------------------------------

    @abstractmethod
    def build(self, in_channels: tuple[int, ...]) -> None:
        """Make the layers for maps of so many channels."""

    @abstractmethod
    def predict(
        self,
        maps: tuple[Tensor, ...],
        image_size: tuple[int, int],
        generator: torch.Generator | None,
    ) -> AuxiliaryMaps:
        """Raw maps of every task.

        Args:
            maps (tuple[Tensor, ...]): Features ``(B, C_i, h_i, w_i)``.
            image_size (tuple[int, int]): Height and width of the input.
            generator (torch.Generator | None): Source of all random draws.
        """

    def further(
        self,
        found: AuxiliaryMaps,
        data_samples: Sequence[Any],
        image_size: tuple[int, int],
        generator: torch.Generator | None,
    ) -> Iterator[tuple[str, str, Tensor, Sequence[int], float]]:
        """More predictions to supervise; none here.

        Yields:
            tuple: Task, suffix of its losses' names, raw maps ``(n, num_channels, h, w)``,
            the n pictures of the batch whose ground truth they are compared with, and a
            factor on ``alpha``.
        """
        yield from ()

    def blame(self, maps: tuple[Tensor, ...], found: AuxiliaryMaps, task: str) -> str:
        """What of ``task`` is not finite first, for a message."""
        for index, value in enumerate(maps):
            if not value.isfinite().all():
                return f'map {index} of {self.feature!r}'
        return 'the prediction' if not found.logits[task].isfinite().all() else 'the loss'

    # -- features ------------------------------------------------------------------

    def ready(self) -> None:
        """Make the layers if the config says for how many channels; called last in constructors."""
        if self._given is not None:
            self.set_in_channels(self._given)

    def set_in_channels(self, in_channels: Sequence[int]) -> None:
        """Make the layers, once the channels of the features are known."""
        self.in_channels = tuple(int(c) for c in in_channels)
        self.build(self.in_channels)

    def select(self, output: Any) -> tuple[Tensor, ...]:
        """The maps to read, of what the submodule gave.

        Raises:
            ShapeError: If they are no maps, or too few.
        """
        if isinstance(output, DenseFeatures):
            output = output.shared
        if isinstance(output, Mapping) and self.in_key is not None and self.in_key in output:
            output = output[self.in_key]
        if isinstance(output, Tensor):
            output = (output,)
        if isinstance(output, Sequence) and self.adapter is not None:
            output = tuple(self.adapter(value) for value in output)
        if not isinstance(output, Sequence) or not all(
            isinstance(m, Tensor) and m.ndim == 4 for m in output
        ):
            raise ShapeError(
                f'{self.key("feature")}: feature {self.feature!r} returned {_describe(output)}, '
                'which is no map (B, C, H, W) or sequence of maps; give in_key=... for a dict, or '
                'an adapter (TokensToMap(grid=..., num_prefix_tokens=1)).'
            )
        return tuple(self.chosen(output))

    def chosen(self, levels: Sequence[_T]) -> list[_T]:
        """What ``in_index`` names of one thing per level.

        Raises:
            ShapeError: If there are too few levels.
        """
        if isinstance(self.in_index, str):
            return list(levels)
        wanted = [self.in_index] if isinstance(self.in_index, int) else list(self.in_index)
        if max(i if i >= 0 else ~i for i in wanted) >= len(levels):
            raise ShapeError(
                f'{self.key("in_index")} is {self.in_index}, but {self.feature!r} gives '
                f'{len(levels)} maps.'
            )
        return [levels[i] for i in wanted]

    def check_channels(self, found: Sequence[int]) -> None:
        """Raise ``ShapeError`` if the layers were made for maps of other channels."""
        expected = self.in_channels
        if expected is None:
            raise RuntimeError(
                f'{self.key("in_channels")} is None and was never found out: attach the '
                'regularizer (DensePredictor, RegularizerHook), or call set_in_channels.'
            )
        if len(found) != len(expected):
            raise ShapeError(
                f'{self.key("in_channels")}: {self.feature!r} gives {len(found)} levels, '
                f'in_channels says {len(expected)}; set in_channels=None to probe.'
            )
        for level, (have, want) in enumerate(zip(found, expected)):
            if have != want:
                raise ShapeError(
                    f'{self.key("in_channels")}: level {level} has {have} channels, in_channels '
                    f'says {want}; set in_channels=None to probe.'
                )

    # -- losses --------------------------------------------------------------------

    # Its schedule and its draws change every step, and it is a small part of it.
    @torch.compiler.disable
    def forward(
        self,
        features: Any,
        data_samples: Sequence[Any],
        iteration: int | None = None,
        image_size: tuple[int, int] | None = None,
        inherited: Mapping[str, float] | None = None,
    ) -> dict[str, Tensor]:
        """Losses of one training step.

        Args:
            features (Any): What the tapped submodule gave.
            data_samples (Sequence): One per picture, with ground truth.
            iteration (int | None): Finished iterations. None: ask mmengine's message hub.
            image_size (tuple | None): Height and width of the input. None: that of the
                ground truth.
            inherited (Mapping | None): ``lambda_t`` of the host.

        Returns:
            dict: ``<name>.loss_<task>``, which is ``alpha * lambda_t * L_t``, and, for the
            log, ``<name>.raw_<task>`` (``L_t``) and ``<name>.alpha``.

        Raises:
            FloatingPointError: If a loss is not finite.
        """
        clock = self.clock or RunClock.now()
        step = clock.iteration if iteration is None else iteration
        maps = self.select(features)
        self.check_channels([m.shape[1] for m in maps])
        size = image_size or size_of_samples(data_samples, self.reader)
        generator = step_generator(maps[0].device, clock.seed, step, self.name)
        found = self.predict(maps, size, generator)
        targets = self.reader.collate(data_samples, size, maps[0].device, self.key('tasks'))
        raw = {
            (key, ''): self._task_loss(key, logits, _crop(targets[key], found.box))
            for key, logits in found.logits.items()
        }
        factors = dict.fromkeys(raw, 1.0)
        for key, suffix, logits, pictures, factor in self.further(
            found, data_samples, size, generator
        ):
            factors[key, suffix] = factor
            raw[key, suffix] = self._task_loss(key, logits, targets[key][list(pictures)])
        self._require_finite(raw, maps, found, step, data_samples)
        alpha = self.ramp.at(step, clock)
        weights = self._weights(inherited)
        losses = {}
        for (key, suffix), value in raw.items():
            weight = alpha * factors[key, suffix] * weights.get(key, 1.0)
            losses[self.loss_key(key) + suffix] = weight * value
            losses[f'{self.name}.raw_{key}{suffix}'] = value.detach()
        losses[f'{self.name}.alpha'] = maps[0].new_tensor(alpha, dtype=torch.float32)
        return losses

    def loss_key(self, task: str) -> str:
        """Name of a task's loss."""
        if self.fold_into_tasks:
            return f'{task}.loss_{self.name}'
        return f'{self.name}.loss_{task}'

    def _weights(self, inherited: Mapping[str, float] | None) -> Mapping[str, float]:
        if self.fold_into_tasks or self.loss_weights == 'ones':
            return {}
        if isinstance(self.loss_weights, str):
            return inherited or {}
        return self.loss_weights

    def _task_loss(self, key: str, logits: Tensor, target: Tensor) -> Tensor:
        task = self.tasks[key]
        pred = task.activate(resize(logits, (target.shape[-2], target.shape[-1]), False))
        valid = task.valid_mask(target)
        total = pred.new_zeros(())
        for loss in cast(nn.ModuleList, self.task_losses[key]):
            total = total + loss(pred, target, valid)
        return total

    def _require_finite(
        self,
        raw: Mapping[tuple[str, str], Tensor],
        maps: tuple[Tensor, ...],
        found: AuxiliaryMaps,
        iteration: int,
        data_samples: Sequence[Any],
    ) -> None:
        """One comparison per step; the rest only if it fails."""
        finite = torch.stack([value.detach() for value in raw.values()]).isfinite()
        if finite.all():
            return
        task = next(key for (key, _), good in zip(raw, finite.tolist()) if not good)
        paths = [str(_meta(sample).get('img_path', 'no path')) for sample in data_samples]
        with torch.no_grad():
            first = self.blame(maps, found, task)
        raise FloatingPointError(
            f'{self.name}: the loss of task {task!r} is not finite at iteration {iteration}; first '
            f'not finite: {first}. Pictures: {", ".join(paths)}. Lower the learning rate, or look '
            'at the ground truth of these pictures.'
        )

    def tell(self, message: str, level: int = logging.INFO) -> None:
        """Log a line."""
        print_log(f'{self.name}: {message}', logger='current', level=level)


def _crop(target: Tensor, box: tuple[int, int, int, int] | None) -> Tensor:
    if box is None:
        return target
    top, left, height, width = box
    return target[..., top : top + height, left : left + width]


def _meta(sample: Any) -> Mapping[str, Any]:
    found = getattr(sample, 'metainfo', None)
    return found if isinstance(found, Mapping) else {}


def _describe(output: Any) -> str:
    if isinstance(output, Mapping):
        return f'{type(output).__name__}({", ".join(map(str, output))})'
    if isinstance(output, Tensor):
        return f'a tensor {tuple(output.shape)}'
    if isinstance(output, Sequence) and not isinstance(output, str):
        return f'{type(output).__name__}[{", ".join(_describe(value) for value in output)}]'
    return type(output).__name__
