"""Loss balancing for models of other code bases."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.runner import Runner
from torch import Tensor, nn

from mmdense.models.balancers import BaseBalancer, StepLosses, balance_step
from mmdense.models.balancers.base import one_of
from mmdense.registry import BALANCERS, HOOKS

from .balancer_hook import BalancerHook

Patterns = str | Sequence[str]


@HOOKS.register_module()
class LossBalancerHook(BalancerHook):
    r"""Puts a loss balancer into any mmengine model (mmseg, mmdet, ...), from the config alone.

    The losses that the model returns are sorted into tasks by patterns on their names; the balancer
    becomes a part of the model (``loss_balancer``), so its state is in the checkpoints and its
    learned weights are in the optimizer. Everything of :class:`BalancerHook` applies.

    Args:
        tasks (Mapping[str, str | Sequence[str]]): Task key to regular expressions, searched in
            the names of the losses; the first task that matches gets the loss.
        balancer (dict): Config of the balancer. ``tasks`` is filled in.
        aux (str | Sequence[str]): Regular expressions of losses that belong to auxiliary
            predictions of their task, see ``aux_losses`` of
            :class:`~mmdense.models.balancers.BaseBalancer`.
        unmatched (str): Losses that match no task: ``'error'``, or ``'added'`` with weight 1.

    Raises:
        ValueError: If ``tasks`` is empty or ``unmatched`` is unknown.

    Example:
        In the config of a segmentor with an auxiliary head::

            custom_imports = dict(imports=['mmdense'])
            custom_hooks = [
                dict(
                    type='mmdense.LossBalancerHook',
                    tasks=dict(decode=r'^decode\.', aux=r'^aux'),
                    balancer=dict(type='UncertaintyWeights'))]
    """

    # Before hooks that copy the model.
    priority = 'HIGH'

    def __init__(
        self,
        tasks: Mapping[str, Patterns],
        balancer: Mapping[str, Any],
        aux: Patterns = (),
        unmatched: str = 'error',
    ) -> None:
        super().__init__()
        if not tasks:
            raise ValueError(
                'LossBalancerHook.tasks is empty; give at least one task key with the pattern of '
                "its losses, for example dict(box='loss_bbox')."
            )
        self.patterns = {key: _compiled(value) for key, value in tasks.items()}
        self.aux = _compiled(aux)
        self.unmatched = one_of('LossBalancerHook.unmatched', unmatched, ('error', 'added'))
        # Found from the scope of any other code base.
        self.cfg = dict(balancer, _scope_='mmdense')

    def before_run(self, runner: Runner) -> None:
        model = getattr(runner.model, 'module', runner.model)
        self.attach(model)
        super().before_run(runner)

    def attach(self, model: nn.Module) -> BaseBalancer:
        """Make the balancer part of a model.

        Raises:
            ValueError: If the model balances its losses itself.
        """
        if any(isinstance(module, BaseBalancer) for module in model.modules()):
            raise ValueError(
                f'LossBalancerHook: {type(model).__name__} has a loss balancer already. Configure '
                'that one (model.balancer), or remove the hook.'
            )
        balancer: BaseBalancer = BALANCERS.build(
            self.cfg, default_args=dict(tasks=list(self.patterns))
        )
        device = next(model.parameters()).device
        model.loss_balancer = balancer.to(device).train(model.training)

        def parse_losses(losses: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
            return balance_step(model, balancer, self.sort(losses))

        # An attribute of the instance hides the method of its class.
        vars(model)['parse_losses'] = parse_losses
        return balancer

    def sort(self, losses: Mapping[str, Any]) -> StepLosses:
        """Sort named losses into tasks.

        Args:
            losses (Mapping): Name to a tensor or a list of tensors, which count by their means, as
                in mmengine. Names without ``loss`` are logged only.

        Raises:
            KeyError: If a loss matches no task and ``unmatched='error'``.
            TypeError: If a value is neither.
        """
        step = StepLosses()
        for name, value in losses.items():
            number = _scalar(name, value)
            if 'loss' not in name:
                step.log(name, number)
                continue
            key = next((k for k, found in self.patterns.items() if _any(found, name)), None)
            if key is not None:
                step.add(key, number, _any(self.aux, name))
                step.log(name, number)
            elif self.unmatched == 'added':
                step.others[name] = number
            else:
                raise KeyError(
                    f"LossBalancerHook: the loss '{name}' matches no pattern of `tasks` "
                    f'({self._shown()}). The losses are: {", ".join(losses)}. Add a pattern, or '
                    "set unmatched='added'."
                )
        for key in self.patterns:
            # A batch may leave out the losses of a task, such as masks without any object.
            if key not in step.final and key not in step.aux:
                step.final[key] = _zero(losses)
                step.labelled[key] = torch.zeros_like(step.final[key])
        step.final = {key: step.final[key] for key in self.patterns if key in step.final}
        return step

    def _shown(self) -> str:
        return ', '.join(f'{k}={[p.pattern for p in found]}' for k, found in self.patterns.items())


def _compiled(patterns: Patterns) -> list[re.Pattern[str]]:
    listed = [patterns] if isinstance(patterns, str) else patterns
    return [re.compile(pattern) for pattern in listed]


def _any(patterns: Sequence[re.Pattern[str]], name: str) -> bool:
    return any(pattern.search(name) for pattern in patterns)


def _scalar(name: str, value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value.mean()
    if isinstance(value, (list, tuple)) and all(isinstance(item, Tensor) for item in value):
        return torch.stack([item.mean() for item in value]).sum()
    raise TypeError(
        f"LossBalancerHook: '{name}' is {type(value).__name__}; the model must return tensors or "
        'lists of tensors.'
    )


def _zero(losses: Mapping[str, Any]) -> Tensor:
    first = next(iter(losses.values()))
    return (first if isinstance(first, Tensor) else first[0]).detach().float().sum() * 0
