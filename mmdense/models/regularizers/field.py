"""What is at a point: a vector per task, and how much it hides."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from mmdense.models.layers import ConstructorInitModule
from mmdense.registry import MODELS

from .functional.geometry import check_choice
from .functional.naive import SLOPE

DENSITIES = ('per_task', 'shared')
FIELDS = ('triplane', 'pixel_aligned')


class PointMLP(nn.Module):
    """One hidden layer, leaky ReLU, a vector and a raw density.

    The supplement prints the slope as -0.2; it means 0.2.

    Args:
        channels (int): Channels of a point's feature.
        hidden (int): Hidden units.
        out_channels (int): Channels of the vector; 0 for none.
        density (bool): Whether there is a density.
        takes_depth (bool): Whether the depth itself is an input too.
    """

    def __init__(
        self, channels: int, hidden: int, out_channels: int, density: bool, takes_depth: bool
    ) -> None:
        super().__init__()
        self.hidden = nn.Linear(channels + takes_depth, hidden)
        self.value = nn.Linear(hidden, out_channels) if out_channels else None
        self.density = nn.Linear(hidden, 1) if density else None
        self.takes_depth = takes_depth
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Kaiming for the hidden layer, small Xavier for what follows, biases 0."""
        nn.init.kaiming_normal_(self.hidden.weight, a=SLOPE, nonlinearity='leaky_relu')
        nn.init.zeros_(self.hidden.bias)
        for layer in (self.value, self.density):
            if layer is not None:
                nn.init.xavier_normal_(layer.weight, gain=0.1)
                nn.init.zeros_(layer.bias)

    def density_parameters(self) -> list[nn.Parameter]:
        """Of all layers that the density goes through."""
        layers = [self.hidden, *(() if self.density is None else (self.density,))]
        return [parameter for layer in layers for parameter in layer.parameters()]

    def weights(self) -> dict[str, Tensor]:
        """Parameters under the names of :data:`~.functional.naive.HeadWeights`, in fp32."""
        weight = self.hidden.weight
        named = dict(w1=weight, b1=self.hidden.bias)
        if self.takes_depth:
            named.update(w1=weight[:, :-1], wz=weight[:, -1])
        if self.value is None:
            named.update(w2=weight.new_zeros(0, len(weight)), b2=weight.new_zeros(0))
        else:
            named.update(w2=self.value.weight, b2=self.value.bias)
        if self.density is not None:
            named.update(w3=self.density.weight[0], b3=self.density.bias[0])
        return {name: value.float() for name, value in named.items()}


@MODELS.register_module()
class TriplaneField(ConstructorInitModule):
    """MLPs from a point's feature to a vector and a density per task.

    Section 3 of Li et al. (ICLR 2024): a 2-layer MLP n_t with 64 hidden units per task; no
    positional encoding, no view direction.

    Args:
        out_channels (Mapping[str, int]): Task to channels of its vector; 0 for a task that
            is read off the density alone.
        channels (int): Channels of a plane.
        hidden (int): Hidden units.
        density (str): ``'per_task'``: each task sees its own volume. ``'shared'``: one MLP
            more gives the density for all.
        field (str): ``'triplane'``; ``'pixel_aligned'``: the feature of one plane and the
            depth itself as input (the older recipe, a control).
        init_cfg (dict | None): Initialisation config of mmengine.
    """

    def __init__(
        self,
        out_channels: Mapping[str, int],
        channels: int = 64,
        hidden: int = 64,
        density: str = 'per_task',
        field: str = 'triplane',
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        check_choice('density', density, DENSITIES)
        check_choice('field', field, FIELDS)
        own, depth = density == 'per_task', field == 'pixel_aligned'
        self.mlps = nn.ModuleDict({
            name: PointMLP(channels, hidden, count, own, depth)
            for name, count in out_channels.items()
        })  # fmt: skip
        self.density = None if own else PointMLP(channels, hidden, 0, True, depth)

    def heads(self) -> dict[str, dict[str, Tensor]]:
        """Task to the parameters of its MLP."""
        return {name: cast(PointMLP, mlp).weights() for name, mlp in self.mlps.items()}

    def shared_density(self) -> dict[str, Tensor] | None:
        """Parameters of the common density, or None."""
        return None if self.density is None else self.density.weights()

    def density_is_frozen(self) -> bool:
        """Whether no layer of a density is trained."""
        layers = [self.density_mlp(name).density for name in self.mlps]
        return not any(p.requires_grad for layer in layers if layer for p in layer.parameters())

    def density_mlp(self, task: str) -> PointMLP:
        """The MLP whose density a task is rendered with."""
        if self.density is not None:
            return self.density
        return cast(PointMLP, self.mlps[task])


def bins(count: int, near: float, far: float, draws: Tensor) -> Tensor:
    """One depth in each of ``count`` equal parts of [near, far]; ``draws`` in [0, 1]."""
    if not math.isfinite(far - near):
        raise ValueError(f'z_range ({near}, {far}) is not finite.')
    steps = torch.arange(count, device=draws.device, dtype=draws.dtype)
    return near + (far - near) * (steps + draws) / count
