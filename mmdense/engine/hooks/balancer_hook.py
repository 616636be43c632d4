"""What a loss balancer needs of the training loop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.hooks import EMAHook, Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from mmdense.engine.optim_wrappers.balancer_group import separate_balancer
from mmdense.models.balancers import FAMO, BaseBalancer, DynamicTaskPrioritization, find_balancer
from mmdense.registry import HOOKS

from .finite_loss_hook import FiniteLossHook


@HOOKS.register_module()
class BalancerHook(Hook):
    """Tells the loss balancer of the model when an epoch, an update or a validation is over.

    Part of the default runtime. Its priority puts it before the checkpoint is written, so the
    file holds the weights of the next epoch. It also gives learned weights a parameter group of
    their own, keeps the balancer's state out of averaged models, and, with
    ``on_nonfinite='skip'``, keeps the optimizer from moving by momentum or decay in a step that is
    left out. Without a balancer it does nothing.
    """

    priority = 'NORMAL'

    def __init__(self) -> None:
        self.balancer: BaseBalancer | None = None
        self._params: list[nn.Parameter] = []
        self._updated = False
        self._random: dict[str, torch.Tensor] = {}
        self._batch: Any = None
        self._finite: FiniteLossHook | None = None

    def before_run(self, runner: Runner) -> None:
        self.balancer = find_balancer(runner.model)
        if self.balancer is None or not isinstance(runner.optim_wrapper, OptimWrapper):
            return
        self._params = list(runner.model.parameters())
        optimizer = runner.optim_wrapper.optimizer
        schedulers = runner.param_schedulers
        separate_balancer(
            self.balancer, optimizer, schedulers if isinstance(schedulers, list) else ()
        )
        optimizer.register_step_pre_hook(self._before_update)

    def before_train(self, runner: Runner) -> None:
        """Check the balancer against the loop.

        Raises:
            ValueError: If the balancer counts epochs and the loop has none.
        """
        balancer = self.balancer
        if balancer is None:
            return
        epochs = isinstance(runner.train_loop, EpochBasedTrainLoop)
        if 'epoch_means' in balancer.needs and balancer.interval is None and not epochs:
            raise ValueError(
                f'{balancer.name} works with means over epochs, but the training loop counts '
                'iterations. Set balancer.interval to the iterations that make an epoch, pictures '
                'of the training set over the pictures of a step on all processes.'
            )
        if balancer.on_nonfinite == 'raise' and not any(
            isinstance(hook, FiniteLossHook) for hook in runner.hooks
        ):
            self._finite = FiniteLossHook()
        if self._measures():
            model = _plain(runner.model)
            model.data_preprocessor.register_forward_hook(self._keep_batch)
        for hook in runner.hooks:
            if isinstance(hook, EMAHook) and hook.ema_model.update_buffers:
                _leave_out(hook.ema_model, balancer)

    def _measures(self) -> bool:
        return isinstance(self.balancer, FAMO) and self.balancer.measure == 'same_batch'

    def _keep_batch(self, module: nn.Module, args: Any, output: Any) -> None:
        if self.balancer is not None and self.balancer.training:
            self._batch = output

    def _before_update(self, optimizer: torch.optim.Optimizer, *args: Any) -> None:
        """Take the gradients away if every step since the last update was left out."""
        if self.balancer is None:
            return
        self._updated = self.balancer.contributed
        if self.balancer.on_nonfinite == 'skip' and not self.balancer.contributed:
            # Of all parameters: there may be a second optimizer, which steps after this one.
            for param in self._params:
                param.grad = None
        self.balancer.contributed = False

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self._updated = False
        if self._measures():
            self._random = {'cpu': torch.get_rng_state()}
            if torch.cuda.is_available():
                self._random['cuda'] = torch.cuda.get_rng_state()

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict[str, torch.Tensor] | None = None,
    ) -> None:
        """Measure losses again where the balancer asks for it, and close pseudo-epochs.

        Raises:
            FloatingPointError: If a loss is not finite and the balancer does not skip such steps.
        """
        balancer = self.balancer
        if balancer is None:
            return
        if self._finite is not None:
            self._finite.after_train_iter(runner, batch_idx, data_batch, outputs)
        if self._measures() and self._updated:
            self._measure(runner, balancer)
        self._batch = None
        if balancer.interval is not None and (runner.iter + 1) % balancer.interval == 0:
            balancer.step_epoch()

    def _measure(self, runner: Runner, balancer: BaseBalancer) -> None:
        """The losses of the same batch, with the same random numbers, after the update."""
        model = _plain(runner.model)
        cuda = [torch.cuda.current_device()] if 'cuda' in self._random else []
        with torch.random.fork_rng(cuda), torch.no_grad(), unchanged_statistics(model):
            torch.set_rng_state(self._random['cpu'])
            if cuda:
                torch.cuda.set_rng_state(self._random['cuda'])
            with runner.optim_wrapper.optim_context(model):
                data = self._batch
                losses = model(**data, mode='loss') if isinstance(data, dict) else model(*data)
            with balancer.measure_after_step():
                model.parse_losses(losses)

    def after_train_epoch(self, runner: Runner) -> None:
        balancer = self.balancer
        epochs = isinstance(runner.train_loop, EpochBasedTrainLoop)
        if balancer is not None and balancer.interval is None and epochs:
            balancer.step_epoch()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        if isinstance(self.balancer, DynamicTaskPrioritization) and metrics:
            self.balancer.update_metrics(metrics)


@contextmanager
def unchanged_statistics(model: nn.Module) -> Iterator[None]:
    """In this context running means and variances of norm layers come back as they were."""
    buffers = [
        buffer
        for module in model.modules()
        if isinstance(module, _NormBase)
        for buffer in module.buffers(recurse=False)
    ]
    before = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        for buffer, value in zip(buffers, before):
            buffer.copy_(value)


def _plain(model: nn.Module) -> Any:
    """The model itself, whatever wraps it for several processes."""
    return getattr(model, 'module', model)


def _leave_out(averaged: Any, balancer: BaseBalancer) -> None:
    """Averages of a balancer's state mean nothing."""
    own = {id(buffer) for buffer in (find_balancer(averaged.module) or balancer).buffers()}
    kept = averaged.module.state_dict(keep_vars=True)
    skipped = {name for name, tensor in kept.items() if id(tensor) in own}
    averaged.avg_parameters = {
        name: value for name, value in averaged.avg_parameters.items() if name not in skipped
    }
