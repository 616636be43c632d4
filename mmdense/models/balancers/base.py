"""What a loss balancer is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from mmengine.model import BaseModule
from torch import Tensor


class BaseBalancer(BaseModule, ABC):
    """Weighs the losses of several tasks.

    A balancer sees losses only, never the trainer. It is a module, so learned weights
    are trained with the model and running averages are saved in its checkpoints.
    """

    @abstractmethod
    def weights(
        self, losses: Mapping[str, Tensor], labelled: Mapping[str, Tensor]
    ) -> dict[str, Tensor | float]:
        """Weight of each task in the total.

        Args:
            losses (Mapping[str, Tensor]): Task key to its loss, a scalar with graph,
                averaged over nothing but this process.
            labelled (Mapping[str, Tensor]): Task key to a scalar tensor, the share of
                pictures in the batch that have the task. A task with 0 gives a zero
                loss and must stay out of running averages.

        Returns:
            dict: Task key to weight; a tensor may carry a graph.
        """

    def penalty(self) -> Tensor | None:
        """A term that the balancer itself adds to the total (learned weights), or None."""
        return None
