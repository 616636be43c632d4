"""One training step: from named losses of a model to the scalar to minimise and what is logged."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.logging import print_log
from torch import Tensor, nn

from mmdense.utils.steps import current_iteration

from .base import BaseBalancer, TaskMeans

#: Steps left out in a row after which a run stops: weights that are NaN never recover.
_PATIENCE = 20


def is_auxiliary(term: str) -> bool:
    """Whether a loss, named without its task, belongs to an auxiliary prediction.

    Example:
        >>> [is_auxiliary(x) for x in ('aux0.loss_silog', 'loss_init', 'loss_final')]
        [True, True, False]
    """
    return '.' in term or term == 'loss_init'


@dataclass
class StepLosses:
    """Losses of a step by what they belong to.

    Args:
        final (dict[str, Tensor]): Task key to the loss of its final prediction.
        aux (dict[str, Tensor]): Task key to the loss of its auxiliary predictions.
        others (dict[str, Tensor]): Name to a loss that belongs to no task; added with weight 1.
        labelled (dict[str, Tensor]): Task key to the share of pictures that have the task, on
            this process. A task that is not named is labelled.
        logged (OrderedDict[str, Tensor]): Name to a value for the log, without graph.
    """

    final: dict[str, Tensor] = field(default_factory=dict)
    aux: dict[str, Tensor] = field(default_factory=dict)
    others: dict[str, Tensor] = field(default_factory=dict)
    labelled: dict[str, Tensor] = field(default_factory=dict)
    logged: OrderedDict[str, Tensor] = field(default_factory=OrderedDict)

    def add(self, key: str, value: Tensor, auxiliary: bool = False) -> None:
        """Count a loss of a task."""
        group = self.aux if auxiliary else self.final
        group[key] = group[key] + value if key in group else value

    def log(self, name: str, value: Tensor) -> None:
        """Log a value, added to what has the name already."""
        value = value.detach()
        self.logged[name] = self.logged[name] + value if name in self.logged else value


def balance_step(
    model: nn.Module, balancer: BaseBalancer, step: StepLosses
) -> tuple[Tensor, OrderedDict[str, Tensor]]:
    """Balance the losses of a step, with one collective of a few numbers.

    Args:
        model (nn.Module): Whose parameters get a zero gradient in a step that is left out.
        balancer (BaseBalancer): The balancer.
        step (StepLosses): The losses of this process.

    Returns:
        tuple: The scalar to minimise, and what is logged, means over all processes: ``loss``,
        ``<task>.loss`` (all losses of the task, unweighted), ``<task>.weight``, and
        ``step.logged``. With ``on_nonfinite='skip'`` also ``skipped``, 1 for a step that is left
        out.

    Raises:
        FloatingPointError: If many steps in a row were left out.
    """
    for key in step.aux:
        step.final.setdefault(key, torch.zeros_like(step.aux[key]))
    step.final = {key: step.final[key] for key in balancer.order(step.final)}
    means, logged = _means(step)
    skip = balancer.on_nonfinite == 'skip'
    if skip and not balancer.measuring:
        bad = _nonfinite(logged)
        balancer.skipped_in_row = balancer.skipped_in_row + 1 if bad else 0
        if bad:
            _report_skip(balancer, bad)
            finite = {name: value for name, value in logged.items() if name not in bad}
            balancer.terms = None
            head = OrderedDict(skipped=next(iter(logged.values())).new_ones(()))
            return _nothing(model, step), OrderedDict({**head, **finite})
    total, logs = balancer(step.final, step.aux, means)
    balancer.contributed = balancer.contributed or not balancer.measuring
    loss = total.detach()
    for name, value in step.others.items():
        total = total + value
        loss = loss + logged[name].to(loss.dtype)
    balancer.close_step(step.others.values())
    head = OrderedDict(loss=loss)
    if skip:
        head['skipped'] = torch.zeros_like(loss)
    for key in step.final:
        name = f'{key}.loss'
        head[name] = logged.pop(name)
        if f'{key}.weight' in logs:
            head[f'{key}.weight'] = logs[f'{key}.weight']
    return total, OrderedDict({**head, **logged})


def _means(step: StepLosses) -> tuple[TaskMeans, OrderedDict[str, Tensor]]:
    """Everything that is averaged over processes, in one collective."""
    keys = list(step.final)
    final = torch.stack([step.final[key].detach().double() for key in keys])
    aux = torch.stack([step.aux.get(k, torch.zeros_like(step.final[k])).detach() for k in keys])
    shares = [step.labelled[key] if key in step.labelled else final.new_ones(()) for key in keys]
    present = torch.stack([share.double() for share in shares]) > 0
    named = OrderedDict((f'{key}.loss', f + a) for key, f, a in zip(keys, final, aux.double()))
    named.update((name, value.detach()) for name, value in step.others.items())
    named.update(step.logged)
    numbers = torch.stack([value.detach().double().mean() for value in named.values()])
    zero = torch.zeros_like(final)
    flat = torch.cat(
        [
            torch.where(present, final, zero),
            torch.where(present, aux.double(), zero),
            present.double(),
            numbers,
        ]
    )
    world = get_world_size()
    if world > 1:
        all_reduce(flat, op='sum')
    count = len(keys)
    sums, aux_sums, counts, numbers = flat.split([count, count, count, len(named)])
    divisor = counts.clamp(min=1)
    logged = OrderedDict(zip(named, (numbers / world).float().unbind()))
    return TaskMeans(sums / divisor, aux_sums / divisor, counts), logged


def _nonfinite(logged: Mapping[str, Tensor]) -> list[str]:
    """Names of the values that are NaN or infinite on any process; waits for the device."""
    finite = torch.stack(list(logged.values())).isfinite()
    if bool(finite.all()):
        return []
    return [name for name, good in zip(logged, finite.tolist()) if not good]


def _report_skip(balancer: BaseBalancer, bad: list[str]) -> None:
    iteration = current_iteration()
    where = 'A step' if iteration is None else f'Iteration {iteration + 1}'
    text = f'{where}: the loss is not finite in {", ".join(bad)}'
    if balancer.skipped_in_row >= _PATIENCE:
        raise FloatingPointError(
            f'{text}, as some loss was in the {_PATIENCE} steps before each other, all of which '
            "were left out (on_nonfinite='skip'). The weights themselves may be damaged: resume "
            'from the last checkpoint with a lower rate '
            '(--resume --cfg-options optim_wrapper.optimizer.lr=...).'
        )
    print_log(
        f"{text}; the step is left out on all processes (on_nonfinite='skip').",
        logger='current',
        level=logging.WARNING,
    )


def _nothing(model: nn.Module, step: StepLosses) -> Tensor:
    """A zero with a zero gradient for every parameter, so that all processes stay in step."""
    zero = torch.zeros((), device=next(iter(step.final.values())).device)
    for param in model.parameters():
        if param.requires_grad:
            # An empty sum: weights may be infinite already, and 0 times infinity is no zero.
            zero = zero + param.flatten()[:0].sum()
    return zero
