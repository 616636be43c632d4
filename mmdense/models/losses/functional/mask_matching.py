"""Which cluster answers for which class, and what follows from it per pixel."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

#: Least stop-gradient weight, and the guard in the similarity's denominator.
EPS = 1e-5


@dataclass
class MaskTargets:
    """Segmentation ground truth, told per cluster.

    N pixels, K clusters, C classes.

    Attributes:
        masks (Tensor): ``(B, K, N)`` fp32, 1 where the pixel has the cluster's class.
        cluster (Tensor): ``(B, N)`` long, the cluster of each pixel; 0 where none.
        matched (Tensor): ``(B, N)`` bool, pixels that have a cluster.
        labelled (Tensor): ``(B, N)`` bool, pixels with a known class.
        classes (Tensor): ``(B, K)`` long, the class of each cluster; C (void) where none.
        present (Tensor): ``(B, K)`` bool, clusters that have a class.
    """

    masks: Tensor
    cluster: Tensor
    matched: Tensor
    labelled: Tensor
    classes: Tensor
    present: Tensor

    @property
    def images(self) -> Tensor:
        """Pictures ``(B,)`` with at least one labelled pixel."""
        return self.labelled.any(dim=1)


def one_hot_labels(labels: Tensor, num_classes: int) -> Tensor:
    """Labels ``(B, N)`` to ``(B, C, N)`` bool; a label outside 0..C-1 belongs to no class."""
    classes = torch.arange(num_classes, device=labels.device)
    return labels[:, None] == classes[:, None]


def fixed_matching(areas: Tensor) -> Tensor:
    """Cluster c answers for class c.

    Args:
        areas (Tensor): ``(B, C)`` pixels per class.

    Returns:
        Tensor: ``(B, C)`` long, the cluster of each class; -1 for classes without pixels.
    """
    clusters = torch.arange(areas.shape[1], device=areas.device)
    return torch.where(areas > 0, clusters, -1)


@torch.no_grad()
def hungarian_matching(
    probabilities: Tensor, class_probabilities: Tensor, one_hot: Tensor
) -> Tensor:
    """One-to-one assignment of clusters to the classes of each picture.

    Maximises the sum over the classes present of mask dice similarity x probability of the
    class. The assignment runs in scipy on the host, picture by picture, so each call waits for
    the device once. With fewer clusters than classes present, the worst-matching classes stay
    without a cluster.

    Args:
        probabilities (Tensor): ``(B, K, N)``, softmax over K.
        class_probabilities (Tensor): ``(B, K, C + 1)``, softmax with void last.
        one_hot (Tensor): ``(B, C, N)`` bool.

    Returns:
        Tensor: ``(B, C)`` long, the cluster of each class; -1 where none.
    """
    masks = one_hot.to(probabilities.dtype)
    inside = probabilities * masks.sum(dim=1, keepdim=True)
    overlap = inside @ masks.transpose(1, 2)
    areas = masks.sum(dim=2)
    dice = overlap / ((inside.sum(dim=2)[:, :, None] + areas[:, None]) / 2 + EPS)
    similarity = (dice * class_probabilities[..., :-1]).cpu().numpy()
    present = (areas > 0).cpu().numpy()
    result = torch.full(areas.shape, -1, dtype=torch.long)
    for image, (scores, here) in enumerate(zip(similarity, present)):
        classes = here.nonzero()[0]
        cluster, column = linear_sum_assignment(scores[:, classes], maximize=True)
        result[image, classes[column]] = torch.from_numpy(cluster)
    return result.to(areas.device)


def mask_targets(
    labels: Tensor, one_hot: Tensor, cluster_of_class: Tensor, num_clusters: int
) -> MaskTargets:
    """Ground truth per cluster for a matching.

    Args:
        labels (Tensor): ``(B, N)`` long; a value outside 0..C-1 is void.
        one_hot (Tensor): ``(B, C, N)`` bool of the same labels.
        cluster_of_class (Tensor): ``(B, C)`` long, -1 where none.
        num_clusters (int): K.

    Returns:
        MaskTargets: All parts on the device of ``labels``, without gradients.
    """
    num_classes = one_hot.shape[1]
    labelled = one_hot.any(dim=1)
    cluster = cluster_of_class.gather(1, torch.where(labelled, labels, 0))
    cluster = torch.where(labelled, cluster, -1)
    clusters = torch.arange(num_clusters, device=labels.device)
    pairs = cluster_of_class[:, None] == clusters[:, None]  # (B, K, C)
    present = pairs.any(dim=2)
    return MaskTargets(
        masks=(cluster[:, None] == clusters[:, None]).float(),
        cluster=cluster.clamp(min=0),
        matched=cluster >= 0,
        labelled=labelled,
        classes=torch.where(present, pairs.long().argmax(dim=2), num_classes),
        present=present,
    )
