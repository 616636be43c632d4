"""Surface normals by classification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mmdense.registry import TASKS
from mmdense.utils.quantization import Directions, read_directions

from .normal import Normal


@TASKS.register_module()
class CentroidNormal(Normal):
    """Normals as the nearest of K directions: the auxiliary normals of ATRC, or a task of its own.

    A head predicts K logits; the loss is cross-entropy with the direction nearest to the ground
    truth, and the map is the mean direction weighted by the softmax. Ground truth and metrics
    are those of :class:`Normal`.

    Args:
        num_centroids (int): K. Defaults to 40.
        centroids (str | Sequence | None): Unit vectors ``(K, 3)``, or a file that
            ``tools/misc/normal_centroids.py`` made of training normals (ATRC). None: K
            directions spread evenly over the half sphere that faces the camera
            (:func:`~mmdense.utils.quantization.hemisphere`).
        losses (Sequence[dict] | None): None: ``CentroidCrossEntropyLoss`` of these directions.
        metrics (Sequence[dict] | None): As in :class:`BaseTask`.

    Raises:
        FileNotFoundError: If the file is absent.
        ValueError: If there are not K unit vectors.
    """

    def __init__(
        self,
        num_centroids: int = 40,
        centroids: Directions = None,
        losses: Sequence[Mapping[str, Any]] | None = None,
        metrics: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        self.centroids = read_directions("tasks['normal'].centroids", centroids, num_centroids)
        if losses is None:
            losses = [
                dict(
                    type='CentroidCrossEntropyLoss',
                    num_centroids=num_centroids,
                    centroids=centroids,
                )
            ]
        super().__init__(losses=losses, metrics=metrics)

    @property
    def num_channels(self) -> int:
        return len(self.centroids)

    def activate(self, logits: Tensor) -> Tensor:
        return logits

    def decode(self, pred: Tensor) -> Tensor:
        shares = pred.float().softmax(1)
        directions = torch.from_numpy(self.centroids).to(pred.device)
        mean = torch.einsum('bkhw,kd->bdhw', shares, directions)
        return super().decode(mean)
