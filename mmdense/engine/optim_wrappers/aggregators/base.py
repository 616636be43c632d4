"""What a gradient aggregator is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmdense.registry import AGGREGATORS


@dataclass(frozen=True)
class Direction:
    """What an aggregator makes of the gradients.

    Args:
        vector (Tensor): ``(P,)``.
        weights (Tensor | None): ``(T,)`` with ``vector = weights @ matrix``, where there are such.
    """

    vector: Tensor
    weights: Tensor | None = None


class Aggregator(ABC):
    """Combines the gradients of T tasks on P shared parameters into one direction.

    The gradients are those of the joint batch of all processes, so every process computes the
    same direction. State lives in :attr:`state`, tensors by name, and is saved with the optimizer.
    """

    def __init__(self) -> None:
        self.state: dict[str, Tensor] = {}

    def row_weights(self, losses: Tensor) -> Tensor | None:
        """Factors on the losses before they are differentiated, for all parameters.

        Args:
            losses (Tensor): ``(T,)`` float64, the losses of the step on all processes.

        Returns:
            Tensor | None: ``(T,)``; None for ones.
        """
        return None

    @abstractmethod
    def __call__(self, matrix: Tensor, losses: Tensor, present: Tensor) -> Direction:
        """The direction of an update.

        Args:
            matrix (Tensor): ``(T, P)``, gradient of each task; rows of tasks without labels are 0.
            losses (Tensor): ``(T,)`` float64, without :meth:`row_weights`.
            present (Tensor): ``(T,)`` bool, tasks with labels.
        """

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes from step to step."""
        return {'state': {name: value.clone() for name, value in self.state.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a saved state."""
        self.state = {name: value.clone() for name, value in state['state'].items()}

    def recall(self, name: str, like: Tensor) -> Tensor:
        """State by name, on the device of ``like``; ``like`` itself the first time."""
        if name not in self.state:
            self.state[name] = like
        self.state[name] = self.state[name].to(like.device)
        return self.state[name]


def build_aggregator(cfg: Mapping[str, Any]) -> Aggregator:
    """An aggregator of mmdense, or one of torchjd by the name of its class.

    Args:
        cfg (Mapping): ``type``, and its arguments.

    Raises:
        KeyError: If nobody knows the name.
        MissingDependencyError: If a package is missing.
    """
    if 'type' not in cfg:
        raise KeyError(
            f"optim_wrapper.aggregator is {dict(cfg)}; it needs a `type`, for example 'UPGrad'."
        )
    name = cfg['type']
    if AGGREGATORS.get(name) is not None:
        built: Aggregator = AGGREGATORS.build(dict(cfg))
        return built
    from .torchjd_aggregator import TorchJDAggregator

    return TorchJDAggregator(name, **{k: v for k, v in cfg.items() if k != 'type'})


def norms_of(matrix: Tensor) -> Tensor:
    """``(T,)`` float64, length of each row."""
    return torch.linalg.vector_norm(matrix, dim=1).double()
