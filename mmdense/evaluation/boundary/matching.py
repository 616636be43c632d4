"""One-to-one matching of predicted and true boundary pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

Array = np.ndarray


def disc_offsets(tolerance: float) -> Array:
    """Integer steps of Euclidean length <= ``tolerance``, nearest first.

    Returns:
        Array: ``(N, 2)``, row and column.

    Example:
        >>> disc_offsets(1.0).tolist()
        [[0, 0], [-1, 0], [0, -1], [0, 1], [1, 0]]
    """
    radius = int(tolerance)
    rows, columns = np.mgrid[-radius : radius + 1, -radius : radius + 1].reshape(2, -1)
    squared = rows**2 + columns**2
    order = np.argsort(squared, kind='stable')
    order = order[squared[order] <= tolerance * tolerance]
    return np.stack([rows[order], columns[order]], axis=1)


class Candidates(NamedTuple):
    """Pairs within the tolerance, from both sides, in compressed rows.

    Attributes:
        near (Array): ``(P,)`` positions, in the list of predicted pixels that was given, of
            those that have a true pixel in reach. The others are dropped; predicted pixels
            below are numbered by this list.
        of_gt_start (Array): ``(G + 1,)``; ``of_gt[of_gt_start[g]:of_gt_start[g + 1]]`` are
            the predicted pixels near true pixel g, nearest first.
        of_gt (Array): ``(E,)`` predicted pixels.
        rank (Array): ``(E,)`` position of the pair's step in :func:`disc_offsets`.
        of_pred_start (Array): ``(P + 1,)``, likewise from the other side.
        of_pred (Array): ``(E,)`` true pixels.
        pred_rank (Array): ``(E,)`` ranks in the order of ``of_pred``.
    """

    near: Array
    of_gt_start: Array
    of_gt: Array
    rank: Array
    of_pred_start: Array
    of_pred: Array
    pred_rank: Array

    @property
    def num_gt(self) -> int:
        return len(self.of_gt_start) - 1

    @property
    def num_pred(self) -> int:
        return len(self.of_pred_start) - 1


def find_candidates(pred: Array, gt: Array, shape: tuple[int, int], tolerance: float) -> Candidates:
    """All pairs of pixels whose Euclidean distance is at most ``tolerance``.

    Args:
        pred (Array): Flat indices ``(N,)`` of predicted pixels.
        gt (Array): Flat indices ``(G,)`` of true pixels.
        shape (tuple[int, int]): Height and width.
        tolerance (float): Pixels.
    """
    offsets = disc_offsets(tolerance)
    margin = int(tolerance)
    width = shape[1] + 2 * margin
    ids = np.full((shape[0] + 2 * margin) * width, -1, np.int32)
    ids[_padded(pred, shape[1], margin)] = np.arange(len(pred), dtype=np.int32)
    steps = offsets[:, 0] * width + offsets[:, 1]
    table = ids[_padded(gt, shape[1], margin)[:, None] + steps]
    owner, rank = np.nonzero(table >= 0)
    of_gt = table[owner, rank]
    start = np.searchsorted(owner, np.arange(len(gt) + 1))
    degree = np.bincount(of_gt, minlength=len(pred))
    near = np.flatnonzero(degree)
    number = np.cumsum(degree > 0) - 1
    of_gt = number[of_gt]
    # Transposing a sparse matrix sorts the pairs by predicted pixel in linear time.
    pairs = csr_array((np.arange(len(of_gt)), of_gt, start), shape=(len(gt), len(near))).tocsc()
    return Candidates(near, start, of_gt, rank, pairs.indptr, pairs.indices, rank[pairs.data])


def _padded(index: Array, width: int, margin: int) -> Array:
    rows, columns = np.divmod(index, width)
    return (rows + margin) * (width + 2 * margin) + columns + margin


def maximum_matching(neighbours: Sequence[Sequence[int]], num_right: int) -> Array:
    """A matching of maximal cardinality in a bipartite graph, the reference form.

    Hopcroft and Karp, "An n^(5/2) Algorithm for Maximum Matchings in Bipartite Graphs"
    (SIAM J. Comput. 1973), without recursion: in each phase a breadth-first search from all
    free left vertices finds the length of the shortest augmenting paths, and a depth-first
    search flips a maximal set of disjoint ones. No path left is the proof of maximality.

    Args:
        neighbours (Sequence[Sequence[int]]): Right neighbours of each left vertex, the most
            wanted first: a greedy start takes the first free one.
        num_right (int): Number of right vertices.

    Returns:
        Array: ``(len(neighbours),)`` right partner of each left vertex, -1 without.

    Example:
        >>> maximum_matching([[0], [0, 1]], 2).tolist()
        [0, 1]
    """
    mate_left, mate_right = [-1] * len(neighbours), [-1] * num_right
    for left, options in enumerate(neighbours):
        for right in options:
            if mate_right[right] < 0:
                mate_left[left], mate_right[right] = right, left
                break
    while True:
        depth = _depths(neighbours, mate_left, mate_right)
        roots = [left for left, mate in enumerate(mate_left) if mate < 0]
        if not sum(_augment(root, neighbours, mate_left, mate_right, depth) for root in roots):
            return np.asarray(mate_left, np.intp)


def _depths(
    neighbours: Sequence[Sequence[int]], mate_left: list[int], mate_right: list[int]
) -> list[int]:
    """Alternating distance of left vertices from the free ones; -1: none."""
    depth = [0 if mate < 0 else -1 for mate in mate_left]
    queue = [left for left, mate in enumerate(mate_left) if mate < 0]
    for left in queue:
        for right in neighbours[left]:
            following = mate_right[right]
            if following >= 0 and depth[following] < 0:
                depth[following] = depth[left] + 1
                queue.append(following)
    return depth


def _augment(
    root: int,
    neighbours: Sequence[Sequence[int]],
    mate_left: list[int],
    mate_right: list[int],
    depth: list[int],
) -> bool:
    """Flip one augmenting path from ``root`` along increasing depths, if there is one."""
    path, choices = [root], [iter(neighbours[root])]
    taken: list[int] = []
    while path:
        right = next(choices[-1], None)
        if right is None:
            depth[path.pop()] = -1
            choices.pop()
            if taken:
                taken.pop()
            continue
        following = mate_right[right]
        if following < 0:
            for left, partner in zip(path, [*taken, right]):
                mate_left[left], mate_right[partner] = partner, left
            for left in path:
                depth[left] = -1
            return True
        if depth[following] == depth[path[-1]] + 1:
            path.append(following)
            choices.append(iter(neighbours[following]))
            taken.append(right)
    return False
