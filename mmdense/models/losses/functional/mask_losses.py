"""The mask and class terms of kMaX-DeepLab (ECCV 2022), as PolyMaX uses them.

Leading dimension L is the layers of deep supervision; the targets and the stop-gradient
weights are those of the final layer and serve all. Each function returns one value per layer,
the mean over the pictures that have labels. Nothing loops over layers, pictures, clusters or
classes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .mask_matching import EPS, MaskTargets
from .reduction import batch_mean

# Shares of present and absent classes in the dice and class terms.
_PRESENT, _ABSENT = 0.75, 0.25


@torch.no_grad()
def class_confidence(class_logits: Tensor, targets: MaskTargets) -> Tensor:
    """w: probability of its class that each cluster gives, at least 1e-5.

    Args:
        class_logits (Tensor): ``(B, K, C + 1)`` of the final layer.
        targets (MaskTargets): Ground truth per cluster.

    Returns:
        Tensor: ``(B, K)``; for clusters without a class, the probability of void.
    """
    share = class_logits.softmax(dim=-1).gather(2, targets.classes[..., None]).squeeze(2)
    return share.clamp(min=EPS)


@torch.no_grad()
def mask_quality(log_probabilities: Tensor, targets: MaskTargets) -> Tensor:
    """v: how well the mask of each cluster fits, at least 1e-5.

    Dice similarity over labelled pixels for a cluster with a class; the share of its mass that
    lies on void pixels for one without.

    Args:
        log_probabilities (Tensor): ``(B, K, N)`` of the final layer, log-softmax over K.
        targets (MaskTargets): Ground truth per cluster.

    Returns:
        Tensor: ``(B, K)``.
    """
    mass = log_probabilities.exp()
    inside = mass * targets.labelled[:, None]
    inside_mass = inside.sum(dim=2)
    dice = (inside * targets.masks).sum(dim=2) / (
        (inside_mass + targets.masks.sum(dim=2)) / 2 + EPS
    )
    total = mass.sum(dim=2)
    void_share = (total - inside_mass) / total.clamp(min=EPS)
    return torch.where(targets.present, dice, void_share).clamp(min=EPS)


def mask_id_cross_entropy(log_probabilities: Tensor, targets: MaskTargets) -> Tensor:
    """Mean over labelled pixels of ``-log p`` of the pixel's cluster.

    Args:
        log_probabilities (Tensor): ``(L, B, K, N)``.
        targets (MaskTargets): Ground truth per cluster.

    Returns:
        Tensor: ``(L,)``.
    """
    index = targets.cluster[None, :, None].expand(len(log_probabilities), -1, -1, -1)
    nll = -log_probabilities.gather(2, index).squeeze(2)
    total = torch.where(targets.matched, nll, 0.0).sum(dim=-1)
    return batch_mean(total / targets.matched.sum(dim=-1).clamp(min=1), targets.images)


def weighted_dice(log_probabilities: Tensor, targets: MaskTargets, confidence: Tensor) -> Tensor:
    """``(0.75 / K) sum_c w_c (1 - (2 sum p_c g_c + 1) / (sum p_c + sum g_c + 1))``.

    The sum runs over the clusters that have a class, pixel sums over labelled pixels.

    Args:
        log_probabilities (Tensor): ``(L, B, K, N)``.
        targets (MaskTargets): Ground truth per cluster.
        confidence (Tensor): w, ``(B, K)``, see :func:`class_confidence`.

    Returns:
        Tensor: ``(L,)``.
    """
    inside = log_probabilities.exp() * targets.labelled[:, None]
    overlap = (inside * targets.masks).sum(dim=-1)
    dice = (2 * overlap + 1) / (inside.sum(dim=-1) + targets.masks.sum(dim=-1) + 1)
    per_cluster = torch.where(targets.present, confidence * (1 - dice), 0.0)
    return batch_mean(_PRESENT * per_cluster.mean(dim=-1), targets.images)


def class_cross_entropy(class_logits: Tensor, targets: MaskTargets, quality: Tensor) -> Tensor:
    """``(1 / K) sum_k a_k v_k CE(class logits_k, t_k)``, a = 0.75 present, 0.25 void.

    Args:
        class_logits (Tensor): ``(L, B, K, C + 1)``, void last.
        targets (MaskTargets): Ground truth per cluster.
        quality (Tensor): v, ``(B, K)``, see :func:`mask_quality`.

    Returns:
        Tensor: ``(L,)``.
    """
    index = targets.classes.expand(len(class_logits), -1, -1)
    ce = F.cross_entropy(class_logits.movedim(-1, 1), index, reduction='none')
    share = torch.where(targets.present, _PRESENT, _ABSENT)
    return batch_mean((share * quality * ce).mean(dim=-1), targets.images)
