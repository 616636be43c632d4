"""What a loss balancer is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

#: What a balancer may need besides the losses of the step, see :attr:`BaseBalancer.needs`.
NEEDS = ('epoch_means', 'losses_after_step', 'kpis', 'parameters')


@dataclass(frozen=True)
class TaskMeans:
    """Losses of a step, the same on all processes.

    Args:
        losses (Tensor): ``(T,)`` float64, the loss of each task, averaged over the processes
            whose pictures have the task; 0 where none has.
        aux (Tensor): ``(T,)`` float64, the same of the auxiliary predictions.
        counts (Tensor): ``(T,)`` float64, processes whose pictures have the task.
    """

    losses: Tensor
    aux: Tensor
    counts: Tensor


@dataclass(frozen=True)
class Combination:
    """How the losses of a step become one.

    Args:
        weights (Tensor): ``(T,)``, derivative of the objective with respect to each loss; no
            graph.
        objective (Tensor | None): What is minimised, a scalar whose graph, if it has one, leads to
            the balancer's own parameters only. None: the weighted sum.
    """

    weights: Tensor
    objective: Tensor | None = None


@dataclass(frozen=True)
class Terms:
    """What a gradient method needs of a step.

    Args:
        rows (Mapping[str, Tensor]): Task key to its weighted term, a scalar with graph; the
            terms sum to the total, up to constants.
        rest (Tensor): Scalar with graph, whatever belongs to no task.
        means (Tensor): ``(T,)`` float64, the values of the rows averaged over processes.
        present (Tensor): ``(T,)`` bool, the tasks that any process has labels for.
    """

    rows: Mapping[str, Tensor]
    rest: Tensor
    means: Tensor
    present: Tensor


class BaseBalancer(BaseModule, ABC):
    """Makes one scalar of the losses of several tasks.

    A balancer is a function of the losses of all tasks, a vector that is the same on all
    processes, see :class:`TaskMeans`. From it a subclass derives the derivative of its objective by
    each loss; with these weights every process sums its own losses, and data-parallel averaging
    gives the gradient of the joint batch, also for objectives that are not linear. Learned
    weights get their gradient from the same vector, so they stay equal on all processes.

    It sees losses only, never the trainer. It is a module: learned weights are trained with the
    model, in a parameter group without weight decay, and running averages are buffers of its
    checkpoints, in float64 whatever the model is cast to. What happens at certain times (ends of
    epochs, measurements after a step) is called by
    :class:`~mmdense.engine.hooks.BalancerHook`.

    Args:
        tasks (Sequence[str] | None): Task keys; injected by the model. The order of all vectors,
            stored with the state and checked when it is loaded. None, for balancers without
            state: the order of the losses.
        aux_losses (str | None): What becomes of the losses of auxiliary predictions (deep
            supervision, ``aux*`` and ``loss_init``). ``'weighted'``: they count as part of the
            loss of their task. ``'added'``: they are added with weight 1, and the balancer does
            not see them. None: the choice of the method, ``'weighted'`` if not said otherwise.
        on_nonfinite (str): When a loss is NaN or infinite. ``'raise'``: the run stops after the
            step. ``'skip'``: the step is left out on all processes, for one wait for the device per
            step. In both cases the state of the balancer is as if the step had not been.
        interval (int | None): Iterations that make an epoch for balancers that need means over
            epochs. None: the epochs of the training loop.
        init_cfg (dict | None): Initialisation config of mmengine.

    Attributes:
        needs (frozenset[str]): Subset of :data:`NEEDS`.
        keep_terms (bool): Whether :attr:`terms` is filled in every step.
        terms (Terms | None): Of the last step; set to None by whoever used it.
        observers (list): Called with the :class:`Terms` of every step before its backward pass.
        contributed (bool): Whether any step since the last update was not left out.

    Raises:
        ValueError: If an argument is out of range, or a balancer with state gets no ``tasks``.
    """

    takes_tasks: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset()
    constant: ClassVar[bool] = False
    default_aux_losses: ClassVar[str] = 'weighted'

    def __init__(
        self,
        tasks: Sequence[str] | None = None,
        aux_losses: str | None = None,
        on_nonfinite: str = 'raise',
        interval: int | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.tasks = None if tasks is None else tuple(tasks)
        if self.needs and not self.tasks:
            raise ValueError(
                f'{self.name}: `tasks` is {tasks!r}, but it keeps a state per task. Give the task '
                'keys in the order of its state.'
            )
        self.aux_losses = one_of(
            f'{self.name}.aux_losses', aux_losses or self.default_aux_losses, ('weighted', 'added')
        )
        self.on_nonfinite = one_of(f'{self.name}.on_nonfinite', on_nonfinite, ('raise', 'skip'))
        if interval is not None and interval < 1:
            raise ValueError(f'{self.name}.interval is {interval}; give iterations, at least 1.')
        self.interval = interval
        if self.needs:
            names = '\n'.join(self.tasks or ()).encode()
            self.register_buffer('task_names', torch.tensor(list(names), dtype=torch.uint8))
        self.keys: tuple[str, ...] = self.tasks or ()
        self.keep_terms = False
        self.terms: Terms | None = None
        self.observers: list[Callable[[Terms], None]] = []
        self.measuring = False
        # Of steps that are left out: since the last update, and in a row.
        self.contributed = False
        self.skipped_in_row = 0

    @property
    def name(self) -> str:
        """How messages call it."""
        return type(self).__name__

    @abstractmethod
    def combine(self, losses: Tensor, present: Tensor) -> Combination:
        """The objective of a step.

        Args:
            losses (Tensor): ``(T,)`` float64 without graph, finite; 1 where not present.
            present (Tensor): ``(T,)`` bool, tasks with labels and a finite loss. Others must
                neither change the objective nor any gradient.
        """

    def observe(self, losses: Tensor, present: Tensor, counts: Tensor) -> None:
        """Take note of a training step, before :meth:`combine`.

        Args:
            losses (Tensor): As in :meth:`combine`.
            present (Tensor): As in :meth:`combine`.
            counts (Tensor): ``(T,)`` float64, processes that ``losses`` is a mean of.
        """

    def step_epoch(self, reduce_fn: Callable[[Tensor], Tensor] | None = None) -> None:
        """An epoch is over.

        Args:
            reduce_fn (Callable | None): Sums a tensor over all processes. Only for training loops
                that do not hand :class:`TaskMeans` of all processes to :meth:`forward`.
        """

    def after_step(self, losses: Tensor, present: Tensor) -> None:
        """Losses of the last batch again, after the update of the model."""

    def update_kpi(self, kpis: Mapping[str, float]) -> None:
        """New values of the key performance indicators, task key to a number in (0, 1)."""

    def forward(
        self,
        losses: Mapping[str, Tensor],
        aux: Mapping[str, Tensor] | None = None,
        means: TaskMeans | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Balance a step.

        Args:
            losses (Mapping[str, Tensor]): Task key to the loss of its final prediction, a scalar
                with graph.
            aux (Mapping[str, Tensor] | None): Task key to the loss of its auxiliary
                predictions.
            means (TaskMeans | None): The values of both on all processes. None: there is
                one process, and all tasks have labels.

        Returns:
            tuple: The scalar to minimise, and what is logged: ``<task>.weight`` unless weights are
            constant. The value of the scalar is the same on all processes; its gradient is
            that of this process.
        """
        self.keys = keys = self.order(losses)
        own = torch.stack([_at_least_float(losses[key]) for key in keys])
        extra = torch.zeros_like(own)
        if aux:
            zero = extra[0]
            extra = torch.stack([_at_least_float(aux.get(key, zero)) for key in keys])
        if means is None:
            one = torch.ones_like(own, dtype=torch.float64)
            means = TaskMeans(own.detach().double(), extra.detach().double(), one)
        added = self.aux_losses == 'added'
        seen = means.losses if added else means.losses + means.aux
        present = (means.counts > 0) & seen.isfinite()
        seen = torch.where(present, seen, 1.0)
        if self.measuring:
            self.after_step(seen, present)
            return own.sum(), {}
        if self.training and torch.is_grad_enabled():
            self.observe(seen, present, means.counts)
        found = self.combine(seen, present)
        weights = found.weights.detach().to(own.dtype)
        objective = found.objective
        if objective is None:
            objective = torch.where(present, found.weights * seen, 0.0).sum()
        rows = weights * own + extra if added else weights * (own + extra)
        value = objective + means.aux.sum() if added else objective
        value = value.to(own.dtype)
        self._expose(keys, rows, value, means, weights)
        live = rows.sum()
        # The value of the joint batch, the gradient of this process.
        total = live - live.detach() + value
        if self.constant:
            return total, {}
        return total, {f'{key}.weight': w for key, w in zip(keys, weights.unbind())}

    def order(self, losses: Mapping[str, Tensor]) -> tuple[str, ...]:
        """Task keys in the order of all vectors.

        Raises:
            KeyError: If the losses are of other tasks.
        """
        if self.tasks is None:
            return tuple(losses)
        if set(losses) != set(self.tasks):
            raise KeyError(
                f'{self.name}: the losses are of the tasks {sorted(losses)}, but it was built for '
                f'{list(self.tasks)}. A task without labels must give a zero loss; correct the '
                "balancer's `tasks` otherwise."
            )
        return self.tasks

    def _expose(
        self,
        keys: Sequence[str],
        rows: Tensor,
        value: Tensor,
        means: TaskMeans,
        weights: Tensor,
    ) -> None:
        if not (self.keep_terms or self.observers):
            return
        added = self.aux_losses == 'added'
        reduced = weights * means.losses + (1.0 if added else weights) * means.aux
        # Its value is that of the rows; what counts is the gradient of learned weights.
        rest = value - value.detach()
        self.terms = Terms(dict(zip(keys, rows.unbind())), rest, reduced, means.counts > 0)

    def close_step(self, others: Iterable[Tensor]) -> None:
        """Hand the terms of the step, with losses that belong to no task, to whoever wants them."""
        if self.terms is None:
            return
        terms = replace(self.terms, rest=sum(others, self.terms.rest))
        for observer in self.observers:
            observer(terms)
        self.terms = terms if self.keep_terms else None

    @contextmanager
    def measure_after_step(self) -> Iterator[None]:
        """In this context :meth:`forward` feeds :meth:`after_step`."""
        self.measuring = True
        try:
            yield
        finally:
            self.measuring = False

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> BaseBalancer:
        """Move the state as asked, but keep float64 in float64 when the model is cast."""
        wide = {
            (module, name): buffer
            for module in self.modules()
            for name, buffer in module._buffers.items()
            if buffer is not None and buffer.dtype == torch.float64
        }
        super()._apply(fn, recurse)
        for (module, name), before in wide.items():
            after = module._buffers[name]
            if after is not None and after.dtype != torch.float64:
                # Not `after`, which has lost digits.
                module._buffers[name] = before.to(after.device)
        return self

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        stored = state_dict.get(f'{prefix}task_names')
        if stored is not None and self.needs:
            names = tuple(bytes(stored.tolist()).decode().split('\n'))
            if names != self.tasks:
                raise ValueError(
                    f'{self.name}: the checkpoint holds its state for the tasks {list(names)}, in '
                    f'this order; the model has {list(self.tasks or ())}. Keep the tasks of the '
                    'run that is resumed, or start a new one from its weights with `load_from`.'
                )
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def _at_least_float(value: Tensor) -> Tensor:
    return value if value.dtype == torch.float64 else value.float()


def one_of(where: str, value: str, choices: Sequence[str]) -> str:
    """``value`` if it is a choice.

    Raises:
        ValueError: If it is not.
    """
    if value not in choices:
        raise ValueError(f'{where} is {value!r}; choose {" or ".join(map(repr, choices))}.')
    return value


def find_balancer(model: nn.Module) -> BaseBalancer | None:
    """The balancer of a model, None without one."""
    return next((m for m in model.modules() if isinstance(m, BaseBalancer)), None)
