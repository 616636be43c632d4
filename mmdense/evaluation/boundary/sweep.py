"""Maximum matchings for a whole sweep of thresholds, each from the one before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from .matching import Candidates

Array = np.ndarray

_ABSENT, _FREE = -2, -1


class MatchingSweep:
    """Keeps a maximum matching while predicted pixels come and go.

    From one threshold to the next a few pixels change. Pairs of which both pixels remain
    stay matched; new pairs are taken nearest first; alternating searches complete the
    matching.

    The proof of maximality is kept too, so that it need not be found again for every
    threshold: a set ``dead`` of true pixels that holds every unmatched one and whose
    predicted neighbours are all matched inside it (a violator of Hall's condition: exactly
    the unmatched pixels are too many in it). No augmenting path starts there. A predicted
    pixel that goes leaves it valid, and one that comes is tested against it.

    Args:
        candidates (Candidates): Pairs within the tolerance; its predicted pixels are those
            of all thresholds together.
    """

    def __init__(self, candidates: Candidates) -> None:
        self._pairs = candidates
        # Searches read single entries, for which memory views (of the arrays' own memory) and
        # lists are several times faster than arrays.
        self._of_gt, self._of_pred = candidates.of_gt.data, candidates.of_pred.data
        self._of_gt_start = candidates.of_gt_start.tolist()
        self._of_pred_start = candidates.of_pred_start.tolist()
        self._mate_of_pred = np.full(candidates.num_pred, _ABSENT, np.int64)
        self._mate_of_gt = np.full(candidates.num_gt, _FREE, np.int64)
        # A true pixel without any candidate never takes part.
        self._dead = np.diff(candidates.of_gt_start) == 0
        self._pred_view, self._gt_view = self._mate_of_pred.data, self._mate_of_gt.data
        self._dead_view = self._dead.data
        self._seen = [0] * max(candidates.num_pred, candidates.num_gt)
        self._parent = [0] * max(candidates.num_pred, candidates.num_gt)
        self._stamp = 0

    def run(self, presences: Iterable[Array]) -> Iterator[int]:
        """Cardinality of a maximum matching of each threshold.

        Args:
            presences (Iterable[Array]): Per threshold: ``(P,)`` bool, which predicted
                pixels are there. Neighbouring ones should be alike.
        """
        for present in presences:
            self._update(present)
            yield int(np.count_nonzero(self._mate_of_gt >= 0))

    def _update(self, present: Array) -> None:
        before = self._mate_of_pred != _ABSENT
        removed = np.flatnonzero(before & ~present)
        added = np.flatnonzero(present & ~before)
        mates = self._mate_of_pred[removed]
        freed = mates[mates >= 0]
        self._mate_of_gt[freed] = _FREE
        self._mate_of_pred[removed] = _ABSENT
        self._mate_of_pred[added] = _FREE
        self._match_nearest(added, freed)
        for pred in self._breaking(added):
            self._search_from_pred(pred)
        for gt in np.flatnonzero((self._mate_of_gt < 0) & ~self._dead).tolist():
            self._search_from_gt(gt)

    def _match_nearest(self, added: Array, freed: Array) -> None:
        """Pairs of two free pixels, one of which has just become free, nearest first."""
        pairs = self._pairs
        preds, edges = _rows(pairs.of_pred_start, added)
        gts, back = _rows(pairs.of_gt_start, freed)
        pred = np.concatenate([preds, pairs.of_gt[back]])
        gt = np.concatenate([pairs.of_pred[edges], gts])
        rank = np.concatenate([pairs.pred_rank[edges], pairs.rank[back]])
        free = (self._mate_of_gt[gt] == _FREE) & (self._mate_of_pred[pred] == _FREE)
        pred, gt, rank = pred[free], gt[free], rank[free]
        order = np.argsort(rank.astype(np.uint16), kind='stable')
        mate_of_pred, mate_of_gt = self._pred_view, self._gt_view
        for p, g in zip(pred[order].tolist(), gt[order].tolist()):
            if mate_of_pred[p] == _FREE and mate_of_gt[g] == _FREE:
                mate_of_pred[p], mate_of_gt[g] = g, p

    def _breaking(self, added: Array) -> list[int]:
        """New predicted pixels beside the dead set that are not matched inside it."""
        owners, edges = _rows(self._pairs.of_pred_start, added)
        beside = np.unique(owners[self._dead[self._pairs.of_pred[edges]]])
        mates = self._mate_of_pred[beside]
        inside = (mates >= 0) & self._dead[mates]
        return beside[~inside].tolist()

    def _search_from_pred(self, root: int) -> None:
        """Match ``root`` inside the dead set, or take out of the set what it reaches there.

        If ``root`` was matched outside, its partner becomes free there and is searched from
        later.
        """
        self._stamp += 1
        stamp, seen, parent = self._stamp, self._seen, self._parent
        mate_of_gt, dead = self._gt_view, self._dead_view
        reached, queue = [], [root]
        for pred in queue:
            for gt in self._of_pred[
                self._of_pred_start[pred] : self._of_pred_start[pred + 1]
            ].tolist():
                if seen[gt] == stamp or not dead[gt]:
                    continue
                seen[gt] = stamp
                parent[gt] = pred
                following = mate_of_gt[gt]
                if following < 0:
                    self._flip_to_pred(root, gt)
                    return
                reached.append(gt)
                queue.append(following)
        for gt in reached:
            dead[gt] = False

    def _flip_to_pred(self, root: int, gt: int) -> None:
        mate_of_pred, mate_of_gt = self._pred_view, self._gt_view
        if mate_of_pred[root] >= 0:
            mate_of_gt[mate_of_pred[root]] = _FREE
            mate_of_pred[root] = _FREE
        while True:
            pred = self._parent[gt]
            following = mate_of_pred[pred]
            mate_of_pred[pred], mate_of_gt[gt] = gt, pred
            if pred == root:
                return
            gt = following

    def _search_from_gt(self, root: int) -> None:
        """Match ``root``, or add all that it reaches to the dead set."""
        self._stamp += 1
        stamp, seen, parent = self._stamp, self._seen, self._parent
        mate_of_pred, dead = self._pred_view, self._dead_view
        queue = [root]
        for gt in queue:
            for pred in self._of_gt[self._of_gt_start[gt] : self._of_gt_start[gt + 1]].tolist():
                following = mate_of_pred[pred]
                if following == _ABSENT or seen[pred] == stamp:
                    continue
                seen[pred] = stamp
                parent[pred] = gt
                if following == _FREE:
                    self._flip_to_gt(root, pred)
                    return
                if not dead[following]:
                    queue.append(following)
        for gt in queue:
            dead[gt] = True

    def _flip_to_gt(self, root: int, pred: int) -> None:
        mate_of_pred, mate_of_gt = self._pred_view, self._gt_view
        while True:
            gt = self._parent[pred]
            following = mate_of_gt[gt]
            mate_of_pred[pred], mate_of_gt[gt] = gt, pred
            if gt == root:
                return
            pred = following


def _rows(start: Array, rows: Array) -> tuple[Array, Array]:
    """Positions of the entries of some compressed rows, each with its row."""
    first, length = start[rows], start[rows + 1] - start[rows]
    total = int(length.sum())
    shift = np.repeat(first - (length.cumsum() - length), length)
    return np.repeat(rows, length), shift + np.arange(total)
