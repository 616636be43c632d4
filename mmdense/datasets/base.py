"""What a multi-task data set is: pictures, each with ground truth for some of the tasks."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from logging import WARNING
from typing import Any, ClassVar

import numpy as np
from mmengine import fileio
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from mmdense.tasks import BaseTask, build_tasks
from mmdense.utils import DataError, suggest

from .samplers import SeededIndex

Array = np.ndarray


class BaseDenseDataset(BaseDataset):
    """Base of all data sets.

    A subclass names its :attr:`available_tasks`, lists its pictures in
    :meth:`load_data_list` and reads one in :meth:`read_sample`. The base checks every
    array against its task, hands the pipeline one random generator per sample, and
    decides what happens to a picture that cannot be read.

    Any picture may lack any task: it is then absent from ``results['gt']``.

    Reproducibility: under :class:`~mmdense.datasets.SeededInfiniteSampler` the generator
    of a sample comes from the seed and the sample's position in the stream, so a run
    repeats exactly for any number of workers and processes. Under another sampler it is
    seeded from numpy's global state, which mmengine seeds per rank and worker.

    Args:
        tasks (Mapping): Task name to config dict or built task; any subset of
            :attr:`available_tasks`.
        data_root (str | None): Folder of the data; None for a data set without files.
        ann_file (str): List file, relative to ``data_root``. '' if there is none.
        pipeline (Sequence): Transform configs. Each transform gets and returns the
            dict that :meth:`prepare_data` describes.
        on_error (str): What a picture that is missing, broken or holds impossible
            values does. ``'raise'``: stops the run with a :class:`DataError`.
            ``'skip'``: is logged once and counted in :attr:`error_counts`; training
            draws another picture in its place, testing gets a black picture without
            labels, which no metric counts. Either way the number of samples stays
            what the sampler expects, so that distributed ranks keep in step. Samples
            carry what was left out (``replaces``, ``unreadable``), and
            :class:`~mmdense.engine.hooks.SkippedPicturesHook` and the evaluator sum it up
            over workers and processes.
        indices (int | Sequence[int] | None): Use only the first (or last, if
            negative) so many pictures, or these.
        test_mode (bool): Whether the data set serves an evaluation.
        metainfo (Mapping | None): Overrides of :attr:`METAINFO`.
        backend_args (dict | None): File backend of ``mmengine.fileio``. None: local
            disk.
        lazy_init (bool): Whether to list the pictures on first use only.
        serialize_data (bool): Whether workers share the list in one buffer.
        max_refetch (int): Pictures in a row that may fail in training before the run
            stops.

    Attributes:
        error_counts (Counter): Path to the number of failed reads in this process.

    Raises:
        DataError: If ``data_root`` or ``ann_file`` does not exist, or no picture is
            listed.
        KeyError: If a task is asked for that the data set does not offer.
        ValueError: If ``on_error`` is unknown, or a task has another number of
            classes than the data set.
    """

    METAINFO: ClassVar[dict] = dict(normal_axes='x-right y-up z-back', depth_kind='metric')
    #: Keys of the tasks that have ground truth here.
    available_tasks: ClassVar[tuple[str, ...]]
    #: What to do when the data are not in place: converter command or download page.
    setup_hint: ClassVar[str] = ''
    #: Height and width of the black picture that stands for an unreadable one in tests.
    default_size: ClassVar[tuple[int, int]] = (480, 640)

    def __init__(
        self,
        tasks: Mapping[str, Any],
        *,
        data_root: str | None = None,
        ann_file: str = '',
        pipeline: Sequence[dict | Callable] = (),
        on_error: str = 'raise',
        indices: int | Sequence[int] | None = None,
        test_mode: bool = False,
        metainfo: Mapping[str, Any] | None = None,
        backend_args: dict | None = None,
        lazy_init: bool = False,
        serialize_data: bool = True,
        max_refetch: int = 100,
    ) -> None:
        if on_error not in ('raise', 'skip'):
            raise ValueError(
                f"{type(self).__name__}: `on_error` is {on_error!r}; choose 'raise' or 'skip'."
            )
        self.tasks: dict[str, BaseTask] = build_tasks(tasks)
        self.on_error = on_error
        self.backend_args = backend_args
        self.error_counts: Counter[str] = Counter()
        self._check_tasks()
        super().__init__(
            ann_file=ann_file,
            metainfo=metainfo,
            data_root=data_root or '',
            data_prefix={},
            indices=indices,
            serialize_data=serialize_data,
            pipeline=list(pipeline),
            test_mode=test_mode,
            lazy_init=True,
            max_refetch=max_refetch,
        )
        if self.data_root:
            self._metainfo['data_root'] = self.data_root
        self._check_classes()
        self._check_depth_kind()
        # Paths are checked even with lazy_init: a wrong one shall fail at build.
        if self.data_root:
            self.require_path(self.data_root, 'data_root')
        if self.ann_file:
            self.require_path(self.ann_file, 'ann_file')
        if not lazy_init:
            self.full_init()

    # -- for subclasses -----------------------------------------------------

    @abstractmethod
    def load_data_list(self) -> Sequence[dict[str, Any]]:
        """List the pictures: one small dict each, handed to :meth:`read_sample`."""

    @abstractmethod
    def read_sample(self, info: dict[str, Any]) -> dict[str, Any]:
        """Read one picture and the ground truth of :attr:`tasks` that it has.

        Args:
            info (dict): An entry of :meth:`load_data_list`, plus ``sample_idx``.

        Returns:
            dict: ``img`` RGB uint8 ``(H, W, 3)``; ``gt`` task key to array in the
            format of the task, of the size of ``img``; ``img_path`` and ``sample_id``
            strings; and what else the data set knows, such as ``intrinsics``
            ``(3, 3)`` in pixels with pixel centres at +0.5. ``aux``, in test mode only:
            name to ``(H, W)`` array that a metric reads besides the ground truth; the
            sample carries it as ``gt_<name>``, and no transform moves it. ``gt_paths``: task
            key to the file that an error message should name, in place of ``img_path``.

        Raises:
            DataError: If a file is missing, unreadable or impossible.
        """

    def require_path(self, path: str, key: str) -> None:
        """Raise :class:`DataError` unless ``path``, the value of config key ``key``, exists."""
        if not (
            fileio.exists(path, backend_args=self.backend_args)
            or fileio.isdir(path, backend_args=self.backend_args)
        ):
            raise DataError(
                f"{type(self).__name__}: `{key}` of the data set is '{path}', which does not "
                f'exist. Correct `{key}` in the config, or put the data in place. '
                f'{self.setup_hint}'.rstrip()
            )

    # -- loading --------------------------------------------------------------

    def filter_data(self) -> Sequence[dict[str, Any]]:
        """All listed pictures; an empty list is an error.

        Raises:
            DataError: If no picture is listed.
        """
        if not self.data_list:
            raise DataError(
                f'{type(self).__name__}: no picture is listed under data_root='
                f"'{self.data_root}', ann_file='{self.ann_file}'. {self.setup_hint}".rstrip()
            )
        return self.data_list

    def prepare_data(self, idx: int, replaces: Sequence[str] = ()) -> Any:
        """Read picture ``idx`` and run the pipeline.

        Args:
            idx (int): The picture.
            replaces (Sequence[str]): The unreadable pictures that it stands in for; the sample
                carries them under this name.

        The pipeline starts from the dict of :meth:`read_sample` with these added:
        ``tasks`` (task key to task object), ``rng`` (the one source of randomness of
        this sample), ``ori_shape`` and ``img_shape`` ``(H, W)``, ``sample_idx``.

        Returns:
            Any: What the pipeline returns; None if the picture is to be replaced.

        Raises:
            DataError: If the picture is unusable and ``on_error='raise'``.
        """
        info = self.get_data_info(idx)
        # Drawn before reading, so that a broken picture does not shift the stream.
        rng = self._generator(idx)
        try:
            results = self._read_checked(info)
        except (DataError, OSError) as error:
            if self.on_error == 'raise':
                raise
            self._note_error(info, error)
            if not self.test_mode:
                return None
            results = self._placeholder(info)
        results['tasks'] = self.tasks
        results['rng'] = rng
        results['ori_shape'] = results['img_shape'] = results['img'].shape[:2]
        results['sample_idx'] = info['sample_idx']
        if replaces:
            results['replaces'] = tuple(replaces)
        return self.pipeline(results)

    def __getitem__(self, idx: int) -> Any:
        """The sample of picture ``idx``, or in training of another if it is unreadable.

        Raises:
            DataError: If ``max_refetch`` pictures in a row fail.
        """
        self.full_init()
        failed: list[str] = []
        for attempt in range(self.max_refetch + 1):
            data = self.prepare_data(idx, failed)
            if data is not None:
                return data
            failed.append(_path_of(self.get_data_info(idx)))
            idx = self._another(idx, attempt)
        raise DataError(
            f'{type(self).__name__}: {self.max_refetch + 1} pictures in a row are unusable, '
            f"for example '{failed[0]}'. Check data_root="
            f"'{self.data_root}' and the disk; on_error='raise' shows the first failure."
        )

    @staticmethod
    def _generator(idx: int) -> np.random.Generator:
        if isinstance(idx, SeededIndex):
            return idx.generator()
        return np.random.default_rng(np.random.randint(0, 2**32, size=4, dtype=np.uint32))

    def _another(self, idx: int, attempt: int) -> int:
        """The index that replaces an unreadable picture, from the same source of randomness."""
        if not isinstance(idx, SeededIndex):
            return self._rand_another()
        draw = np.random.default_rng((idx.seed, idx.position, attempt)).integers(len(self))
        return SeededIndex(int(draw), idx.seed, idx.position)

    def _read_checked(self, info: dict[str, Any]) -> dict[str, Any]:
        results = self.read_sample(info)
        img, path = results['img'], results['img_path']
        if img.ndim != 3 or img.shape[2] != 3 or img.dtype != np.uint8:
            raise DataError(
                f'{path}: the picture is {img.dtype} {img.shape}, expected uint8 (H, W, 3), RGB.'
            )
        checked: dict[str, Array] = {}
        files = results.pop('gt_paths', {})
        for key, task in self.tasks.items():
            if key not in results['gt']:
                continue
            where = files.get(key, path)
            gt = task.check(results['gt'][key], where)
            if gt.shape[:2] != img.shape[:2]:
                raise DataError(
                    f"{where}: ground truth of task '{key}' is {gt.shape[:2]} (H, W), the picture "
                    f"'{path}' {img.shape[:2]}. Re-run the converter, or remove the file to leave "
                    'this picture without the task.'
                )
            checked[key] = gt
        results['gt'] = checked
        return results

    def _note_error(self, info: dict[str, Any], error: Exception) -> None:
        path = _path_of(info)
        self.error_counts[path] += 1
        if self.error_counts[path] == 1:
            print_log(
                f"{type(self).__name__}: skipping '{path}': {error}",
                logger='current',
                level=WARNING,
            )

    def _placeholder(self, info: dict[str, Any]) -> dict[str, Any]:
        """A black picture without labels, marked ``unreadable``."""
        name = str(info.get('sample_id', info['sample_idx']))
        return dict(
            img=np.zeros((*self.default_size, 3), np.uint8),
            gt={},
            img_path=str(info.get('img_path', name)),
            sample_id=name,
            unreadable=True,
        )

    @classmethod
    def _load_metainfo(cls, metainfo: Mapping[str, Any] | None = None) -> dict[str, Any]:
        # mmengine takes a string value for the name of a file to read; ours are values.
        return copy.deepcopy({**BaseDenseDataset.METAINFO, **cls.METAINFO, **(metainfo or {})})

    # -- checks at build ------------------------------------------------------

    def _check_tasks(self) -> None:
        for key in self.tasks:
            if key not in self.available_tasks:
                raise KeyError(
                    f"{type(self).__name__} has no ground truth for task '{key}'. "
                    f'{suggest(key, self.available_tasks)} Take it out of `tasks`, or train it '
                    'on a second data set.'
                )

    def _check_classes(self) -> None:
        """Class names of the data set against the number of classes of its tasks."""
        names = {**self._metainfo.get('task_classes', {})}
        if self._metainfo.get('classes'):
            names['semseg'] = self._metainfo['classes']
        for key, classes in names.items():
            if key in self.tasks and len(classes) != self.tasks[key].num_channels:
                raise ValueError(
                    f"tasks['{key}'].num_classes is {self.tasks[key].num_channels}, but "
                    f'{type(self).__name__} has {len(classes)} classes. Set num_classes='
                    f'{len(classes)}.'
                )
        if 'semseg' in names:
            self._metainfo['classes'] = tuple(names['semseg'])

    def _check_depth_kind(self) -> None:
        """The quantity that the data set stores as depth against the one the task asks for."""
        stored = self._metainfo['depth_kind']
        for key, task in self.tasks.items():
            wanted = getattr(task, 'kind', stored)
            if wanted != stored:
                raise ValueError(
                    f"tasks['{key}'].kind is '{wanted}', but {type(self).__name__} reads "
                    f"'{stored}'. Set kind='{stored}' with a range in its unit."
                )


def _path_of(info: Mapping[str, Any]) -> str:
    """What messages call the picture of a list entry."""
    return str(info.get('img_path', info.get('sample_id', info['sample_idx'])))
