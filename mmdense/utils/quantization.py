"""Classes for continuous quantities: logarithmic bins of depth, directions for normals."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

#: What a config may give as unit vectors.
Directions = str | Path | Sequence[Sequence[float]] | None


def check_log_bins(where: str, low: float, high: float, num_bins: int) -> None:
    """Raise ``ValueError`` unless ``0 < low < high`` and there are at least two bins."""
    if not 0 < low < high or num_bins < 2:
        raise ValueError(
            f'{where}: low={low}, high={high}, num_bins={num_bins}; need 0 < low < high in metres '
            'and at least 2 bins, for example 0.7, 10 and 40.'
        )


def log_bin_index(depth: Tensor, low: float, high: float, num_bins: int) -> Tensor:
    """Bin of each depth, ``clamp(floor(K ln(z / low) / ln(high / low)), 0, K - 1)``.

    Args:
        depth (Tensor): Any shape; positive where it matters. Others get bin 0.
        low (float): Lower end of the first bin.
        high (float): Upper end of the last bin.
        num_bins (int): K.

    Returns:
        Tensor: int64, the shape of ``depth``.

    Example:
        >>> log_bin_index(torch.tensor([0.5, 1.0, 3.0, 99.0]), 1.0, 100.0, 4).tolist()
        [0, 0, 0, 3]
    """
    position = (depth.clamp(min=low) / low).log() * (num_bins / math.log(high / low))
    return position.floor().clamp(max=num_bins - 1).long()


def log_bin_centers(low: float, high: float, num_bins: int) -> Tensor:
    """Geometric centres ``(K,)`` of the bins, in the unit of ``low``."""
    steps = (torch.arange(num_bins, dtype=torch.float64) + 0.5) / num_bins
    return (low * (high / low) ** steps).float()


def nearest_direction(vectors: Tensor, directions: Tensor) -> Tensor:
    """Index of the direction at the smallest angle.

    Args:
        vectors (Tensor): ``(B, 3, H, W)``, of any length but zero where it matters.
        directions (Tensor): Unit vectors ``(K, 3)``.

    Returns:
        Tensor: int64 ``(B, 1, H, W)``.
    """
    similarity = F.conv2d(vectors, directions.to(vectors)[:, :, None, None])
    return similarity.argmax(dim=1, keepdim=True)


def hemisphere(num: int) -> np.ndarray:
    """Evenly spread unit vectors that face the camera: a Fibonacci lattice on z > 0.

    Vector i has ``z = 1 - (i + 0.5) / num``, so that all have the same share of the area, and
    turns by the golden angle. Axes are those of :class:`~mmdense.tasks.Normal`.

    Args:
        num (int): K.

    Returns:
        ndarray: ``(K, 3)`` float64.

    Example:
        >>> bool((hemisphere(40)[:, 2] > 0).all())
        True
    """
    i = np.arange(num)
    z = 1 - (i + 0.5) / num
    radius = np.sqrt(1 - z * z)
    angle = i * (np.pi * (3 - np.sqrt(5)))
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], axis=1)


def read_directions(where: str, directions: Directions, num: int) -> np.ndarray:
    """Unit vectors ``(K, 3)``, float32, of a config.

    Args:
        where (str): The config key, for messages.
        directions (str | Path | Sequence | None): A JSON file as
            ``tools/misc/normal_centroids.py`` writes it, the vectors themselves, or None for
            :func:`hemisphere`.
        num (int): K, which a file or list has to have.

    Raises:
        FileNotFoundError: If the file is absent.
        ValueError: If they are not ``num`` vectors of length 1, at least 2.
    """
    if isinstance(directions, str | Path):
        if not Path(directions).is_file():
            raise FileNotFoundError(
                f'{where}: {directions} does not exist. Make it with '
                '`python tools/misc/normal_centroids.py CONFIG FILE`, or leave the key out for '
                'evenly spread directions.'
            )
        values = json.loads(Path(directions).read_text())['centroids']
    else:
        values = hemisphere(num) if directions is None else directions
    found = np.asarray(values, dtype=np.float32)
    if found.shape != (num, 3) or num < 2:
        raise ValueError(
            f'{where}: directions of shape {found.shape}, expected ({num}, 3) and at least '
            '2. Set `num_centroids` to their number.'
        )
    lengths = np.linalg.norm(found, axis=1)
    if not np.allclose(lengths, 1, atol=1e-3):
        raise ValueError(f'{where}: directions have lengths {lengths.tolist()}, expected 1.')
    return found


def spherical_kmeans(
    vectors: np.ndarray, num: int, seed: int = 0, max_iters: int = 300
) -> tuple[np.ndarray, float]:
    """Unit vectors that the given ones gather around, by cosine similarity.

    Starts from scipy's k-means++; then every vector goes to its nearest centroid, and a centroid
    becomes the normalised sum of its vectors, until none changes.

    Args:
        vectors (ndarray): Unit vectors ``(N, 3)``.
        num (int): K, number of centroids.
        seed (int): Of the start.
        max_iters (int): Upper bound of the iterations.

    Returns:
        tuple: Centroids ``(K, 3)`` float64, by falling share of the vectors, and the mean angle in
        degrees between a vector and its centroid.

    Raises:
        ValueError: If there are fewer than ``num`` different vectors.
    """
    from scipy.cluster.vq import kmeans2

    points = np.asarray(vectors, dtype=np.float64)
    different = len(np.unique(points, axis=0))
    if different < num:
        raise ValueError(
            f'spherical_kmeans: {different} different vectors for {num} centroids; give more '
            'pictures or ask for fewer centroids.'
        )
    start, _ = kmeans2(points, num, iter=1, minit='++', seed=seed)
    centroids = _unit(start)
    labels = np.full(len(points), -1)
    for _ in range(max_iters):
        similarity = points @ centroids.T
        previous, labels = labels, similarity.argmax(1)
        if (labels == previous).all():
            break
        sums = np.stack([np.bincount(labels, points[:, d], num) for d in range(3)], axis=1)
        # A centroid without vectors, or whose vectors cancel, stays where it is.
        moved = np.linalg.norm(sums, axis=1) > 1e-9
        centroids[moved] = _unit(sums[moved])
    order = np.argsort(-np.bincount(labels, minlength=num), kind='stable')
    nearest = (points * centroids[labels]).sum(1).clip(-1, 1)
    return centroids[order], float(np.degrees(np.arccos(nearest)).mean())


def _unit(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: np.ndarray = vectors / np.maximum(length, 1e-12)
    return unit
