"""Terms on sampled pixels: instance discrimination and the auxiliary semantic branch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .reduction import at_least_float32, batch_mean

# Sampling logit of void pixels: drawn only when the labelled ones are used up.
_VOID_LOGIT = -99999.0
# Similarity of a pair that must not count; finite, so that a row of such pairs has a gradient.
_NO_PAIR = -1e9


@torch.no_grad()
def sample_pixels(labels: Tensor, one_hot: Tensor, num_samples: int, temperature: float) -> Tensor:
    """Draw pixels without replacement, those of small classes more often (Gumbel top-k).

    The logit of a pixel is ``temperature * log(N / area of its class in the picture)``. If
    ``num_samples`` reaches the number of pixels, all are taken in order and nothing is drawn.

    Args:
        labels (Tensor): ``(B, N)`` long; a value outside 0..C-1 is void.
        one_hot (Tensor): ``(B, C, N)`` bool of the same labels.
        num_samples (int): Pixels per picture, k.
        temperature (float): 0 draws uniformly from the labelled pixels.

    Returns:
        Tensor: ``(B, min(k, N))`` long, pixel indices.
    """
    batch, pixels = labels.shape
    if num_samples >= pixels:
        return torch.arange(pixels, device=labels.device).expand(batch, -1)
    areas = one_hot.sum(dim=2)
    labelled = one_hot.any(dim=1)
    area = areas.gather(1, torch.where(labelled, labels, 0)).clamp(min=1)
    logits = torch.where(labelled, temperature * (pixels / area).log(), _VOID_LOGIT)
    # -log(Exp(1)) is standard Gumbel noise.
    noise = -torch.empty_like(logits).exponential_().log()
    return (logits + noise).topk(num_samples, dim=1).indices


def sample_maps(maps: Tensor, index: Tensor, size: tuple[int, int], align_corners: bool) -> Tensor:
    """Values that maps would have at some pixels of ``size`` if resized to it bilinearly.

    Equal to resizing and gathering, without the enlarged maps.

    Args:
        maps (Tensor): ``(B, D, h, w)``.
        index (Tensor): ``(B, k)`` long, pixel indices in a ``size`` grid, row by row.
        size (tuple[int, int]): Height and width of that grid.
        align_corners (bool): As in bilinear resizing.

    Returns:
        Tensor: ``(B, k, D)``, fp32 or wider.
    """
    maps = at_least_float32(maps)
    coordinates = []
    for steps, length in ((index % size[1], size[1]), (index // size[1], size[0])):
        position = steps.to(maps.dtype)
        if align_corners:
            coordinates.append(2 * position / max(length - 1, 1) - 1)
        else:
            coordinates.append((2 * position + 1) / length - 1)
    grid = torch.stack(coordinates, dim=-1)[:, None]
    # Border padding: a centre-aligned grid asks for points outside the outermost centres.
    sampled = F.grid_sample(
        maps, grid, mode='bilinear', padding_mode='border', align_corners=align_corners
    )
    return sampled[:, :, 0].transpose(1, 2)


def instance_discrimination(
    embeddings: Tensor, labels: Tensor, num_classes: int, temperature: float = 0.3
) -> Tensor:
    """Pixels of one class attract, others repel.

    Mean over sampled pixels j of the cross-entropy between softmax over j' of
    ``F_j . F_j' / temperature`` and the uniform distribution over the pixels of j's class,
    itself included. Void pixels are neither j nor j'.

    Args:
        embeddings (Tensor): F, ``(L, B, k, E)``.
        labels (Tensor): ``(B, k)``; a value outside 0..C-1 is void.
        num_classes (int): C.
        temperature (float): Divisor of the similarities.

    Returns:
        Tensor: ``(L,)``, the mean over the pictures with labelled samples.
    """
    classes = torch.arange(num_classes, device=labels.device)
    one_hot = labels[..., None] == classes  # (B, k, C)
    labelled = one_hot.any(dim=2)
    members = one_hot.to(embeddings.dtype)
    counts = members.sum(dim=1).clamp(min=1)
    # The mean similarity to the pixels of a class is the similarity to their mean.
    centres = (members.transpose(1, 2) @ embeddings) / counts[..., None]
    positive = (embeddings * (members @ centres)).sum(dim=-1) / temperature
    similarity = embeddings @ embeddings.transpose(2, 3) / temperature
    similarity = similarity.masked_fill(~labelled[:, None], _NO_PAIR)
    values = torch.where(labelled, similarity.logsumexp(dim=-1) - positive, 0.0)
    per_image = values.sum(dim=-1) / labelled.sum(dim=-1).clamp(min=1)
    return batch_mean(per_image, labelled.any(dim=1))


def sampled_cross_entropy(logits: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Mean over labelled samples of the cross-entropy, then over the pictures that have some.

    Args:
        logits (Tensor): ``(B, k, C + 1)`` with void last, or ``(B, k, C)``.
        labels (Tensor): ``(B, k)``; a value outside 0..C-1 is void.
        num_classes (int): C.

    Returns:
        Tensor: Scalar.
    """
    labelled = (labels >= 0) & (labels < num_classes)
    index = torch.where(labelled, labels, 0)
    ce = F.cross_entropy(logits.transpose(1, 2), index, reduction='none')
    total = torch.where(labelled, ce, 0.0).sum(dim=1)
    return batch_mean(total / labelled.sum(dim=1).clamp(min=1), labelled.any(dim=1))
