"""Parameter groups by name pattern."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.logging import print_log
from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

from mmdense.models.balancers import find_balancer
from mmdense.registry import OPTIM_WRAPPER_CONSTRUCTORS
from mmdense.utils import suggest


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class PatternOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Learning-rate factors and weight decay chosen separately, by patterns on names.

    mmengine's default constructor gives up its norm and bias rules for parameters that
    ``custom_keys`` match, so a backbone with a tenth of the rate decays its norms. Here
    the two choices are independent:

    - the rate of a parameter is ``lr`` times the factor of the first pattern found in
      its name;
    - parameters with at most one dimension (norms, biases, layer scales) and those
      whose name matches a pattern of ``no_decay`` are not decayed.

    Learned weights of a loss balancer form a group of their own, without weight decay.

    Entries of ``paramwise_cfg``:

    - ``lr_mult`` (Mapping[str, float]): Regular expression to factor, tried in order.
    - ``no_decay`` (Sequence[str]): Regular expressions.
    - ``decay_vectors`` (bool): Decay parameters with at most one dimension too. Defaults
      to False.

    Raises:
        KeyError: If ``paramwise_cfg`` has an unknown key.
        ValueError: If a pattern matches no parameter, which is a misspelt pattern.
    """

    def __init__(
        self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, Any] | None = None
    ) -> None:
        known = ('lr_mult', 'no_decay', 'decay_vectors')
        for key in paramwise_cfg or {}:
            if key not in known:
                raise KeyError(f"optim_wrapper.paramwise_cfg['{key}']: {suggest(key, known)}")
        super().__init__(optim_wrapper_cfg, paramwise_cfg)

    def _validate_cfg(self) -> None:
        """All checks need the model; see :meth:`add_params`."""

    def add_params(self, params: list[dict], module: nn.Module, **kwargs: Any) -> None:
        """Sort the parameters of ``module`` into groups of one rate and one decay."""
        cfg = self.paramwise_cfg or {}
        lr_mult: Mapping[str, float] = cfg.get('lr_mult', {})
        no_decay: Sequence[str] = cfg.get('no_decay', ())
        decay_vectors = cfg.get('decay_vectors', False)
        unused = {*lr_mult, *no_decay}
        balancer = find_balancer(module)
        apart = {id(param) for param in balancer.parameters()} if balancer is not None else set()
        groups: dict[tuple[float, bool, bool], list[nn.Parameter]] = {}
        for name, param in module.named_parameters():
            if not param.requires_grad:
                continue
            rate = next((p for p in lr_mult if re.search(p, name)), None)
            spared = [p for p in no_decay if re.search(p, name)]
            unused -= {rate, *spared}
            own = id(param) in apart
            decayed = not spared and not own and (decay_vectors or param.ndim > 1)
            key = (1.0 if rate is None else lr_mult[rate], decayed, own)
            groups.setdefault(key, []).append(param)
        if unused:
            raise ValueError(
                f'optim_wrapper.paramwise_cfg: the patterns {sorted(map(str, unused))} match no '
                'parameter of the model. Correct or remove them.'
            )
        for (factor, decayed, _), members in groups.items():
            group: dict[str, Any] = dict(params=members)
            if self.base_lr is not None:
                group['lr'] = self.base_lr * factor
            if self.base_wd is not None:
                group['weight_decay'] = self.base_wd if decayed else 0.0
            params.append(group)
            print_log(
                f'Parameter group: {len(members)} tensors, lr x {factor:g}, '
                f'weight decay {"on" if decayed else "off"}',
                logger='current',
            )
