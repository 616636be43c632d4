"""Updates from the gradients of every task."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.dist import broadcast as broadcast_from_first
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from mmdense.models.balancers import BaseBalancer, Terms, find_balancer
from mmdense.registry import OPTIM_WRAPPERS
from mmdense.utils.steps import current_iteration

from .aggregators import build_aggregator
from .shared_parameters import add_gradients, split_parameters

_DTYPES = {'bfloat16': torch.bfloat16, 'float16': torch.float16}


@OPTIM_WRAPPERS.register_module()
class JacobianOptimWrapper(OptimWrapper):
    r"""Moves shared parameters along a direction made of the gradients of all tasks.

    One backward pass per task; the gradients of the shared parameters form a matrix ``(T, P)`` in
    float32, summed over accumulated steps, unscaled where losses are scaled, averaged over
    processes, and only then combined by the aggregator. Parameters that are not shared get the
    sum of the gradients, as ever. The tasks' terms are those of the loss balancer, weighted by
    it, so a balancer and an aggregator can work together; losses without a task are added to
    the direction as they are.

    Costs T backward passes instead of one and memory for T gradients of the shared parameters.
    Works with several processes (no gradient is exchanged before the update), gradient
    accumulation, activation checkpointing and mixed precision on any device.

    Args:
        optimizer (Optimizer): The optimizer.
        aggregator (Mapping): Config: ``type`` is ``GradNorm``, ``DBMTL``, ``MoCo``, or a class of
            torchjd such as ``PCGrad``, ``UPGrad``, ``CAGrad``; and its arguments.
        shared (str | Sequence[str]): Regular expressions, searched in the names of the
            parameters. Defaults to the backbone; a neck that all tasks share should be named too,
            ``shared=[r'^backbone\.', r'^neck\.']``.
        dtype (str | None): ``'bfloat16'`` or ``'float16'`` for mixed precision; None for float32.
        loss_scale (str | float): With float16: ``'dynamic'``, or a fixed scale.
        kwargs: ``accumulative_counts`` and ``clip_grad`` as in mmengine's ``OptimWrapper``.

    Raises:
        KeyError: If nobody knows the aggregator.
        MissingDependencyError: If a package that it needs is missing.
        ValueError: If ``dtype`` is unknown.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        aggregator: Mapping[str, Any],
        shared: str | Sequence[str] = r'^backbone\.',
        dtype: str | None = None,
        loss_scale: str | float = 'dynamic',
        **kwargs: Any,
    ) -> None:
        super().__init__(optimizer, **kwargs)
        if dtype is not None and dtype not in _DTYPES:
            raise ValueError(
                f'JacobianOptimWrapper.dtype is {dtype!r}; choose {" or ".join(_DTYPES)}, or None.'
            )
        self.aggregator = build_aggregator(aggregator)
        self.patterns = shared
        self.dtype = None if dtype is None else _DTYPES[dtype]
        self.scaler: torch.amp.GradScaler | None = None
        if dtype == 'float16':
            device = optimizer.param_groups[0]['params'][0].device.type
            start = 2.0**16 if loss_scale == 'dynamic' else float(loss_scale)
            self.scaler = torch.amp.GradScaler(device, init_scale=start)
        self._fixed_scale = None if loss_scale == 'dynamic' else float(loss_scale)
        self.model: nn.Module | None = None
        self.balancer: BaseBalancer | None = None
        self.shared: list[nn.Parameter] = []
        self.others: list[nn.Parameter] = []
        self._sums: _Sums | None = None

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Forward pass without exchange of gradients, in the precision of ``dtype``."""
        plain = getattr(model, 'module', model)
        if plain is not self.model:
            self._adopt(plain)
        assert self.balancer is not None
        self.balancer.keep_terms = True
        # Gradients are averaged in `_update`; hooks of the wrapper must not do it as well.
        no_sync: Any = getattr(model, 'no_sync', nullcontext)
        kind = next(plain.parameters()).device.type
        with no_sync(), torch.autocast(kind, self.dtype, enabled=self.dtype is not None):
            yield

    def _adopt(self, model: nn.Module) -> None:
        """Find balancer and shared parameters.

        Raises:
            ValueError: If the model has no balancer.
        """
        balancer = find_balancer(model)
        if balancer is None:
            raise ValueError(
                f'JacobianOptimWrapper: {type(model).__name__} has no loss balancer that sorts its '
                'losses into tasks. Add a LossBalancerHook with the tasks to custom_hooks.'
            )
        where = 'optim_wrapper.shared'
        self.shared, self.others = split_parameters(model, self.patterns, where)
        self.model, self.balancer = model, balancer

    def update_params(
        self,
        loss: Tensor,
        step_kwargs: dict[str, Any] | None = None,
        zero_kwargs: dict[str, Any] | None = None,
    ) -> None:
        """Take the gradients of every task; update if it is time.

        Args:
            loss (Tensor): The total of the balancer, whose terms are used in its place.
            step_kwargs (dict | None): For the optimizer's step.
            zero_kwargs (dict | None): For its ``zero_grad``.

        Raises:
            RuntimeError: If the losses did not go through the balancer.
            FloatingPointError: If a gradient is not finite and the balancer raises then.
        """
        if self.balancer is None:
            raise RuntimeError(
                'JacobianOptimWrapper.update_params: no forward pass has run in optim_context.'
            )
        terms, self.balancer.terms = self.balancer.terms, None
        if terms is not None:
            self._collect(terms, float(self.scale_loss(torch.ones(()))))
        elif not self.balancer.skipped_in_row:
            raise RuntimeError(
                'JacobianOptimWrapper.update_params: the losses did not go through the balancer. '
                'They must come from model.parse_losses.'
            )
        self._inner_count += 1
        if self.should_update():
            if self._sums is not None and self._update(self._sums):
                self.step(**(step_kwargs or {}))
            self._sums = None
            self.zero_grad(**(zero_kwargs or {}))

    def _collect(self, terms: Terms, factor: float) -> None:
        """Add the gradients of a step."""
        if self._sums is None:
            self._sums = _Sums(list(terms.rows), self.shared, self.others)
        sums = self._sums
        scale = self._scale()
        weights = self.aggregator.row_weights(terms.means)
        params = [*self.shared, *self.others]
        chain = [*terms.rows.values(), terms.rest]
        if weights is not None:
            chain = [*(w.float() * row for w, row in zip(weights, chain)), terms.rest]
        ends = [index for index, value in enumerate(chain) if value.requires_grad]
        for index, value in enumerate(chain):
            slots = [*sums.rows[index], *sums.slots]
            add_gradients(value * scale, params, slots, factor / scale, index != ends[-1])
        sums.losses += factor * terms.means
        sums.present |= terms.present
        sums.weights = weights

    def _update(self, sums: _Sums) -> bool:
        """Write the gradients of the update; False if there is to be none."""
        several = get_world_size() > 1
        if several:
            all_reduce(sums.matrix, op='mean')
            all_reduce(sums.others, op='mean')
        bad = sums.nonfinite()
        if bad and self.scaler is None:
            self._report(bad)
            return False
        matrix, rest = sums.matrix[:-1], sums.matrix[-1]
        if bad:
            # The scaler must see it, to leave the update out and lower the scale.
            vector = torch.full_like(rest, torch.inf)
        else:
            found = self.aggregator(matrix, sums.losses, sums.present)
            vector = found.vector + rest
            if several:
                # Solvers may round differently on other machines.
                broadcast_from_first(vector)
            if found.weights is not None:
                self._log(sums, found.weights)
        scale = self._scale()
        _write(self.shared, vector, scale)
        _write(self.others, sums.others, scale)
        return True

    def _scale(self) -> float:
        """By which losses are multiplied, and gradients divided."""
        if self.scaler is None:
            return 1.0
        # Not `get_scale`: the scaler starts working with the first value it has scaled.
        return float(self.scaler.scale(torch.ones((), device=self.shared[0].device)))

    def _report(self, bad: Sequence[str]) -> None:
        iteration = current_iteration()
        where = 'An update' if iteration is None else f'Iteration {iteration + 1}'
        text = f'{where}: the gradient is not finite in {", ".join(bad)}'
        assert self.balancer is not None
        if self.balancer.on_nonfinite == 'raise':
            raise FloatingPointError(
                f'{text}. The aggregator and the weights are as before. Resume from the last '
                "checkpoint with a lower rate, or set on_nonfinite='skip' in the balancer."
            )
        text = f"{text}; the update is left out on all processes (on_nonfinite='skip')."
        print_log(text, logger='current', level=logging.WARNING)

    def _log(self, sums: _Sums, weights: Tensor) -> None:
        factors = torch.ones_like(sums.losses) if sums.weights is None else sums.weights
        values = (weights.double().to(factors.device) * factors).tolist()
        for key, value in zip(sums.tasks, values):
            self.message_hub.update_scalar(f'train/{key}.gradient_weight', value)

    def step(self, **kwargs: Any) -> None:
        """Clip and step, by the scaler where there is one."""
        if self.scaler is None:
            super().step(**kwargs)
            return
        if self.clip_grad_kwargs:
            self.scaler.unscale_(self.optimizer)
            self._clip_grad()
        self.scaler.step(self.optimizer, **kwargs)
        self.scaler.update(self._fixed_scale)

    def state_dict(self) -> dict[str, Any]:
        """State of the optimizer, the aggregator and the scaler."""
        state: dict[str, Any] = super().state_dict()
        state['aggregator'] = self.aggregator.state_dict()
        if self.scaler is not None:
            state['loss_scaler'] = self.scaler.state_dict()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over all three."""
        state_dict = dict(state_dict)
        if 'aggregator' in state_dict:
            self.aggregator.load_state_dict(state_dict.pop('aggregator'))
        scaler = state_dict.pop('loss_scaler', None)
        if self.scaler is not None and scaler is not None:
            self.scaler.load_state_dict(scaler)
        super().load_state_dict(state_dict)


class _Sums:
    """Gradients since the last update, in float32.

    Args:
        tasks (Sequence[str]): T task keys.
        shared (Sequence[Parameter]): Parameters with P numbers.
        others (Sequence[Parameter]): Parameters with Q numbers.

    Attributes:
        matrix (Tensor): ``(T + 1, P)``, a row per task and one for losses without a task.
        others (Tensor): ``(Q,)``, over all losses.
        rows (list[list[Tensor]]): Views of ``matrix``, by row and parameter.
        slots (list[Tensor]): Views of ``others``, by parameter.
        losses (Tensor): ``(T,)`` float64.
        present (Tensor): ``(T,)`` bool.
        weights (Tensor | None): ``(T,)``, the row weights of the last step.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        shared: Sequence[nn.Parameter],
        others: Sequence[nn.Parameter],
    ) -> None:
        self.tasks = tuple(tasks)
        sizes, other_sizes = [p.numel() for p in shared], [p.numel() for p in others]
        device = shared[0].device
        self.matrix = torch.zeros(len(tasks) + 1, sum(sizes), device=device)
        self.others = torch.zeros(sum(other_sizes), device=device)
        self.rows = [list(row.split(sizes)) for row in self.matrix]
        self.slots = list(self.others.split(other_sizes)) if others else []
        self.losses = torch.zeros(len(tasks), dtype=torch.float64, device=device)
        self.present = torch.zeros(len(tasks), dtype=torch.bool, device=device)
        self.weights: Tensor | None = None

    def nonfinite(self) -> list[str]:
        """Which gradients are not finite; waits for the device."""
        norms = torch.linalg.vector_norm(self.matrix, dim=1)
        norms = torch.cat([norms, torch.linalg.vector_norm(self.others)[None]])
        names = (*self.tasks, 'losses without a task', 'parameters that are not shared')
        good = norms.isfinite().tolist()
        return [name for name, fine in zip(names, good) if not fine]


def _write(params: Sequence[nn.Parameter], vector: Tensor, scale: float) -> None:
    """Make a vector the gradients of parameters."""
    for param, part in zip(params, vector.split([p.numel() for p in params])):
        # Zero gradients too: with several processes they would differ in what they update.
        param.grad = (part * scale).view_as(param).to(param.dtype)
