"""Learned weights of a loss balancer in a parameter group of their own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch.optim import Optimizer

from mmdense.models.balancers import BaseBalancer


def separate_balancer(
    balancer: BaseBalancer, optimizer: Optimizer, schedulers: Iterable[Any] = ()
) -> None:
    """Give learned weights a group without weight decay, whatever made the groups.

    Weight decay would pull learned weights towards their start. The group keeps the rate of the
    one the parameters were in; parameters that the optimizer has not seen get its default rate. To
    be called before the optimizer's state is loaded.

    Args:
        balancer (BaseBalancer): Whose parameters.
        optimizer (Optimizer): Changed in place.
        schedulers (Iterable): mmengine's schedulers of the optimizer, which then cover the new
            group as well.
    """
    left = {id(param): param for param in balancer.parameters() if param.requires_grad}
    for group in list(optimizer.param_groups):
        members = [param for param in group['params'] if id(param) in left]
        if not members:
            continue
        for param in members:
            del left[id(param)]
        if len(members) == len(group['params']):
            group['weight_decay'] = 0.0
            continue
        group['params'] = [p for p in group['params'] if all(p is not m for m in members)]
        _add(optimizer, {**group, 'params': members}, schedulers)
    if left:
        _add(optimizer, dict(params=list(left.values())), schedulers)


def _add(optimizer: Optimizer, group: dict[str, Any], schedulers: Iterable[Any]) -> None:
    optimizer.add_param_group({**group, 'weight_decay': 0.0})
    added = optimizer.param_groups[-1]
    for scheduler in schedulers:
        initial = f'initial_{scheduler.param_name}'
        added.setdefault(initial, added[scheduler.param_name])
        scheduler.base_values.append(added[initial])
