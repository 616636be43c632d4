"""Normals as a soft choice among directions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmdense.registry import MODELS
from mmdense.tasks import BaseTask

from .cluster_head import ClusterHead


@MODELS.register_module()
class SphereSegmentNormalHead(ClusterHead):
    """Normal head of PolyMaX: K segments of the unit sphere, chosen per pixel.

    Each cluster predicts a direction; their mixture is normalised. The paper asks for unit
    vectors per cluster and for a normalisation at the end; both are done here. Without the
    first, training starts with centres of length about 0.1, whose mixture is shorter still,
    and the last normalisation turns that into large gradients.

    Args:
        task (BaseTask): Injected by the model.
        in_channels (Sequence[int]): Channels of the maps, fine to coarse.
        num_clusters (int): K.
        normalize_centers (bool): L2-normalise each cluster's vector.
        **kwargs: As in :class:`ClusterHead`, but for what this head fixes
            (``out_channels``, ``activation``, ``value_range``, ``normalize_output``).

    Shape:
        - output: ``(B, 3, h, w)``; unit vectors after :meth:`predict`, in the axes of the
          :class:`~mmdense.tasks.Normal` task.

    Raises:
        ValueError: As :class:`ClusterHead`.
    """

    def __init__(
        self,
        task: BaseTask,
        in_channels: int | Sequence[int],
        num_clusters: int = 8,
        normalize_centers: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            task,
            in_channels,
            num_clusters,
            out_channels=3,
            activation='l2norm' if normalize_centers else 'none',
            normalize_output=True,
            **kwargs,
        )
