"""The boundary benchmark: odsF, oisF and AP."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from logging import INFO, WARNING
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import is_main_process
from mmengine.logging import print_log

from mmdense.evaluation.boundary import (
    COLUMNS,
    BoundaryProtocol,
    best_counts,
    boundary_scores,
    quantize,
)
from mmdense.evaluation.boundary.cached import Counted, count_picture
from mmdense.evaluation.counters import Counters
from mmdense.evaluation.ordered_pool import OrderedPool, cores_per_process
from mmdense.registry import METRICS
from mmdense.tasks import BaseTask
from mmdense.utils import DataError
from mmdense.utils.files import atomic_write_text

from .base import (
    Array,
    DenseMetric,
    Sample,
    as_mapping,
    map_of,
    name_of,
    require_choice,
)

#: Thresholds of ``approximate=True``.
APPROXIMATE = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
#: Pictures below this size take less time than starting processes.
SMALL_PICTURE = 256 * 256

#: Arguments of :func:`count_picture`.
Job = tuple[Array, Array, 'Array | None', BoundaryProtocol, 'str | None']


@METRICS.register_module()
class BoundaryMetric(DenseMetric):
    """Boundary F-measure with a tolerance: the BSDS benchmark with thinning.

    Martin, Fowlkes and Malik, "Learning to Detect Natural Image Boundaries Using Local
    Brightness, Color, and Texture Cues" (TPAMI 2004), as SEISM's measure ``fb`` runs it for
    the multi-task literature: the probability is written with 8 bits (truncated), thinned
    by non-maximum suppression, thresholded, thinned to one pixel and matched one to one
    with the thinned true boundaries within ``max_dist`` times the diagonal. Counters are
    pooled over all pictures.

    The true boundaries are those of a label map (differs from its east, south or south-east
    neighbour). With ``gt='edges'`` the binary boundary map itself is taken for the label map,
    as published evaluations of NYUD-v2 do.

    Unknown pixels (255) of ``gt='edges'`` are no true boundary, and predictions there are
    left out after the suppression. Published tools know no unknown pixels; PASCAL-Context
    and NYUD-v2 have none. A label map of ``gt='labels'`` has no unknown value: every
    difference counts. Pictures whose truth holds no boundary count with their false
    positives.

    Args:
        max_dist (float): Reach of a match as a share of the diagonal: 0.011 for NYUD-v2,
            0.0075 for PASCAL-Context.
        nms (bool): Whether to suppress non-maxima (evaluations of ATRC and InvPT). Without,
            a pixel is on if ``p >= t`` (MTI-Net's scripts).
        thresholds (Sequence[float] | None): None: 0.01 .. 0.99, with ``nms`` also 0.001
            and 0.999.
        gt (str): ``'edges'``: the task's own ground truth; ``'labels'``: the label map in
            ``label_field``.
        label_field (str): Field of the sample for ``gt='labels'``.
        subset (str | None): File with one sample id per line; other pictures are left out.
            A relative path counts from the ``data_root`` of the data set, where there is one.
            Published PASCAL-Context numbers use 2498 of the 5105 validation pictures.
        workers (int | None): Processes that count. 0: none but this. None: one per core
            that this rank has; none for pictures below 65,536 pixels.
        cache_dir (str | None): Folder in which the counters of each picture are kept, so
            that an interrupted evaluation goes on where it was.
        counters_file (str | None): JSON file for the summed counters, which
            ``tools/analysis_tools/boundary_curves.py`` draws.
        approximate (bool): Use 11 thresholds. Several times faster, and biased low by up to
            some points: for curves during training only.
        task, prefix: As in :class:`DenseMetric`.

    Raises:
        ValueError: If an argument is out of range, or ``approximate`` meets ``thresholds``.
        DataError: If ``subset`` cannot be read, when the evaluation is set up.
    """

    default_task = dict(type='Boundary')
    higher_is_better = dict(
        odsF=True, ods_precision=True, ods_recall=True, ods_threshold=None, oisF=True, AP=True
    )
    percent = frozenset(('odsF', 'ods_precision', 'ods_recall', 'oisF', 'AP'))

    def __init__(
        self,
        max_dist: float = 0.011,
        nms: bool = True,
        thresholds: Sequence[float] | None = None,
        gt: str = 'edges',
        label_field: str = 'gt_context',
        subset: str | None = None,
        workers: int | None = None,
        cache_dir: str | None = None,
        counters_file: str | None = None,
        approximate: bool = False,
        task: BaseTask | Mapping[str, Any] | None = None,
        prefix: str | None = None,
        collect_device: str = 'cpu',
    ) -> None:
        super().__init__(task, prefix, collect_device)
        require_choice('BoundaryMetric.gt', gt, ['edges', 'labels'])
        if workers is not None and workers < 0:
            raise ValueError(f'BoundaryMetric: `workers` is {workers}; give 0 or more, or None.')
        if approximate and thresholds is not None:
            raise ValueError(
                'BoundaryMetric: `approximate=True` has thresholds of its own; leave out '
                '`thresholds`, or `approximate`.'
            )
        chosen = APPROXIMATE if approximate else thresholds
        self.settings = BoundaryProtocol(max_dist, nms, None if chosen is None else tuple(chosen))
        self.source = gt
        self.gt_field = f'gt_{self.task.field}' if gt == 'edges' else label_field
        self.subset = subset
        self.workers = workers
        self.cache_dir = cache_dir
        self.counters_file = counters_file
        self.approximate = approximate
        self._ids: frozenset[str] | None = None
        self._pool: OrderedPool | None = None
        self._warned = False
        #: Counters of the last evaluation, summed over pictures and processes.
        self.summed: Counters = {}

    @property
    def protocol(self) -> str:
        grid = self.settings.grid
        parts = [
            f'max_dist={self.settings.max_dist:g} of the diagonal',
            'NMS' if self.settings.nms else 'no NMS',
            f'{len(grid)} thresholds {grid[0]:g}..{grid[-1]:g} '
            f'({"p > t" if self.settings.nms else "p >= t"})',
            '8-bit maps, thinned, one-to-one matches, counts pooled',
            'gt: edge map' if self.source == 'edges' else f'gt: borders in {self.gt_field}',
            f'pictures of {Path(self.subset).name}' if self.subset else 'all pictures',
        ]
        label = f'APPROXIMATE, {len(grid)} thresholds: biased low, for curves only; '
        return (label if self.approximate else '') + ', '.join(parts)

    @property
    def pictures(self) -> int | None:
        return int(self.summed.get('pictures', 0)) if self.subset else None

    # mmengine hands the metainfo of the data set over when the loop is built: the moment to
    # read a list, since configs are also built where no data are.
    @property
    def dataset_meta(self) -> dict | None:
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, dataset_meta: dict) -> None:
        self._dataset_meta = dataset_meta
        self._read_subset()

    def _read_subset(self) -> frozenset[str] | None:
        if self.subset is None or self._ids is not None:
            return self._ids
        # Alone, outside a runner, the metric knows no data set: the path stands as it is.
        path = Path((self._dataset_meta or {}).get('data_root', ''), self.subset)
        try:
            lines = path.read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"BoundaryMetric: the list '{path}' of the pictures to score cannot be read "
                f'({error}). Put a text file with one sample id per line there. To score all '
                'pictures, set subset=None, or edge_split=None in an evaluator with a profile; '
                'such numbers do not compare with published ones.'
            ) from error
        self._ids = frozenset(line.strip() for line in lines if line.strip())
        if not self._ids:
            raise DataError(f"BoundaryMetric: the list '{path}' names no picture.")
        return self._ids

    def valid(self, gt: Array) -> Array:
        # A label map has no unknown value: 255 is one of its categories.
        return np.ones(gt.shape, bool) if self.source == 'labels' else super().valid(gt)

    def update(self, pred: Array, gt: Array, valid: Array) -> Counters:
        return self._counters(count_picture(*self._job(pred, gt, valid)))

    def _job(self, pred: Array, gt: Array, valid: Array) -> Job:
        if valid.all():
            return quantize(pred), gt, None, self.settings, self.cache_dir
        return quantize(pred), np.where(valid, gt, 0), valid, self.settings, self.cache_dir

    def _counters(self, counted: Counted) -> Counters:
        if counted.trouble and not self._warned:
            self._warned = True
            print_log(f'BoundaryMetric: {counted.trouble}', logger='current', level=WARNING)
        return dict(
            counts=counted.counts,
            best=best_counts(counted.counts),
            pictures=np.asarray(1),
        )

    def count(self, sample: Sample) -> Counters:
        job = self._read(sample)
        return {} if job is None else self._counters(count_picture(*job))

    def process(self, data_batch: Any, data_samples: Sequence[Sample]) -> None:
        for sample in map(as_mapping, data_samples):
            job = self._read(sample)
            if job is None:
                self._add(self._workers().skip(None))
            else:
                at_once = self.workers is None and job[0].size < SMALL_PICTURE
                self._add(self._workers().submit(name_of(sample), *job, at_once=at_once))

    def _read(self, sample: Sample) -> Job | None:
        """What is to be counted of a sample; None where there is nothing."""
        ids = self._read_subset()
        own = map_of(sample, 'gt', self.task)
        gt = own if self.source == 'edges' else sample.get(self.gt_field)
        name = name_of(sample)
        if gt is None and own is not None:
            raise DataError(
                f"BoundaryMetric: {name} has boundaries but no field '{self.gt_field}', which "
                "gt='labels' needs. Set `label_field` to a label map that the data set gives as "
                "`aux` in test mode, or gt='edges'."
            )
        if gt is None or (ids is not None and _sample_id(sample) not in ids):
            return None
        pred = self._prediction(sample)
        maps = self._read_pair(pred, gt, name, channels_first=True, gt_name=f"'{self.gt_field}'")
        return self._checked_job(*maps, name)

    def _score_maps(self, pred: Any, gt: Any, where: str, channels_first: bool) -> Counters:
        maps = self._read_pair(pred, gt, where, channels_first)
        return self._counters(count_picture(*self._checked_job(*maps, where)))

    def _checked_job(self, pred: Array, gt: Array, where: str) -> Job:
        # Everywhere, as the suppression looks at neighbours of the pixels that count.
        self._require_finite(pred, where)
        try:
            return self._job(pred, gt, self.valid(gt))
        except ValueError as error:
            raise DataError(f"BoundaryMetric: picture '{where}': {error}") from error

    def _workers(self) -> OrderedPool:
        if self._pool is None:
            cores = cores_per_process() if self.workers is None else self.workers
            # One worker would only add the cost of handing pictures over.
            workers = 0 if self.workers is None and cores == 1 else cores
            self._pool = OrderedPool(count_picture, workers, 'BoundaryMetric')
        return self._pool

    def _add(self, results: Iterable[Counted | None]) -> None:
        for counted in results:
            self.counters.add({} if counted is None else self._counters(counted))

    def evaluate(self, size: int) -> dict[str, float]:
        """Numbers over the ``size`` pictures of the data set; ends the workers."""
        self._add(self._workers().finish())
        self.summed = {}
        results = super().evaluate(size)
        if is_main_process():
            self._tell_subset()
            if self.counters_file is not None and self.summed:
                self._write_counters(self.counters_file, results)
        return results

    def _tell_subset(self) -> None:
        """How many pictures of the list were scored; a warning unless all of them."""
        if self._ids is None:
            return
        counted, listed = int(self.summed.get('pictures', 0)), len(self._ids)
        text = f"BoundaryMetric: {counted} of the {listed} pictures of '{self.subset}' were scored."
        if counted < listed:
            text += ' The others are not in the data: the numbers are no published protocol.'
        print_log(text, logger='current', level=WARNING if counted < listed else INFO)

    def _write_counters(self, path: str, results: Mapping[str, float]) -> None:
        found = dict(
            protocol=self.protocol,
            pictures=int(self.summed['pictures']),
            thresholds=list(self.settings.grid),
            columns=list(COLUMNS),
            counts=self.summed['counts'].tolist(),
            best=self.summed['best'].tolist(),
            metrics=results,
        )
        atomic_write_text(path, json.dumps(found) + '\n')

    def compute(self, counters: Counters) -> dict[str, float]:
        self.summed = counters
        scores = boundary_scores(counters['counts'], counters['best'], self.settings.grid)
        return dict(
            odsF=scores.ods,
            ods_precision=scores.ods_precision,
            ods_recall=scores.ods_recall,
            ods_threshold=scores.ods_threshold,
            oisF=scores.ois,
            AP=scores.ap,
        )


def _sample_id(sample: Sample) -> str:
    found = sample.get('sample_id')
    return Path(str(sample.get('img_path', ''))).stem if found is None else str(found)
