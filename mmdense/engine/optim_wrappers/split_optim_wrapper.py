"""Two optimizers that step together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from torch import nn
from torch.optim import Optimizer

from mmdense.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS
from mmdense.utils import suggest


@OPTIM_WRAPPERS.register_module()
class SplitOptimWrapper(OptimWrapper):
    """An optimizer for most parameters and a second one for some, on the same loss.

    Both step in every iteration. Schedules and logged rates are those of the first; the second
    keeps its rate. Clipping sees the gradients of all parameters together. Checkpoints hold the
    state of both.

    Built by :class:`SplitOptimWrapperConstructor`.

    Args:
        optimizer (Optimizer): Of most parameters.
        second_optimizer (Optimizer): Of the others.
        **kwargs: As in mmengine's ``OptimWrapper``.
    """

    def __init__(self, optimizer: Optimizer, second_optimizer: Optimizer, **kwargs: Any) -> None:
        super().__init__(optimizer, **kwargs)
        self.second_optimizer = second_optimizer

    def step(self, **kwargs: Any) -> None:
        super().step(**kwargs)
        self.second_optimizer.step()

    def zero_grad(self, **kwargs: Any) -> None:
        super().zero_grad(**kwargs)
        self.second_optimizer.zero_grad(**kwargs)

    def _clip_grad(self) -> None:
        groups = [*self.optimizer.param_groups, *self.second_optimizer.param_groups]
        params = [p for group in groups for p in group['params'] if p.grad is not None]
        if params:
            norm = self.clip_func(params, **self.clip_grad_kwargs)
            if norm is not None:
                self.message_hub.update_scalar(f'train/{self.grad_name}', float(norm))

    def state_dict(self) -> dict[str, Any]:
        state: dict[str, Any] = super().state_dict()
        return {**state, 'second_optimizer': self.second_optimizer.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        state = dict(state_dict)
        self.second_optimizer.load_state_dict(state.pop('second_optimizer'))
        super().load_state_dict(state)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class SplitOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Builds a :class:`SplitOptimWrapper`.

    Reads ``optimizer`` and ``second_optimizer`` of the wrapper's config.

    Args (in ``paramwise_cfg``):
        second (Sequence[str]): Regular expressions; parameters in whose name one is found belong
            to the second optimizer.

    Raises:
        KeyError: If ``paramwise_cfg`` has another key.
        ValueError: If ``second_optimizer`` is missing, or one of the two has no parameter.

    Example config:
        ``optim_wrapper = dict(type='SplitOptimWrapper', constructor='SplitOptimWrapperConstructor',
        optimizer=dict(type='SGD', lr=0.01), second_optimizer=dict(type='Adam', lr=5e-4),
        paramwise_cfg=dict(second=['genotype_logits']))``
    """

    def __init__(
        self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, Any] | None = None
    ) -> None:
        for key in paramwise_cfg or {}:
            if key != 'second':
                raise KeyError(f"optim_wrapper.paramwise_cfg['{key}']: {suggest(key, ['second'])}")
        super().__init__(optim_wrapper_cfg, paramwise_cfg)
        if 'second_optimizer' not in self.optim_wrapper_cfg:
            raise ValueError(
                'optim_wrapper: SplitOptimWrapperConstructor needs `second_optimizer`, for example '
                "dict(type='Adam', lr=5e-4)."
            )

    def _validate_cfg(self) -> None:
        """All checks need the model or are made above."""

    def __call__(self, model: nn.Module) -> OptimWrapper:
        model = getattr(model, 'module', model)
        patterns: Sequence[str] = (self.paramwise_cfg or {}).get('second', ())
        first: list[nn.Parameter] = []
        second: list[nn.Parameter] = []
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                chosen = any(re.search(pattern, name) for pattern in patterns)
                (second if chosen else first).append(parameter)
        if not first or not second:
            raise ValueError(
                f'optim_wrapper.paramwise_cfg: the patterns {list(patterns)} of `second` give '
                f'{len(first)} parameters to `optimizer` and {len(second)} to `second_optimizer`; '
                'both need some. Correct the patterns.'
            )
        cfg = dict(self.optim_wrapper_cfg)
        cfg['second_optimizer'] = OPTIMIZERS.build(dict(cfg['second_optimizer'], params=second))
        optimizer = OPTIMIZERS.build(dict(self.optimizer_cfg, params=first))
        wrapper: OptimWrapper = OPTIM_WRAPPERS.build(cfg, default_args=dict(optimizer=optimizer))
        return wrapper
