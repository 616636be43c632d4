"""The procedural rooms as a data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmdense.registry import DATASETS

from ..base import BaseDenseDataset
from .cache import RoomCache
from .constants import CLASSES, PALETTE, PARTS
from .render import RoomSample, check_request, render_room, truth_of


@DATASETS.register_module()
class RoomsDataset(BaseDenseDataset):
    """Procedural indoor scenes with exact ground truth for six tasks; nothing to download.

    Pictures of furnished rooms, with up to two people, made by an analytic ray caster
    (:func:`~.render.render_room`, which states the format of every map). Scene ``index``
    of a split is the same in every process, for every size and for any ``length``; no
    scene is in two splits. The camera is an indoor depth camera: 63 degrees across, held
    at 1.35 to 1.65 m, and its depth map has the holes that a structured-light sensor
    leaves (0). Segmentation has no unknown pixel; ``part`` is 255 throughout where nobody
    is in sight. Depth is 0.5 to 8.5 m.

    Each sample also has ``intrinsics`` ``(3, 3)`` and ``pose`` ``(4, 4)``, camera to world
    (:mod:`~.camera` states the axes). With ``second_view`` it has ``second_view``: a dict
    of ``img``, ``gt``, ``intrinsics`` and ``pose`` of a second camera 0.1 to 0.3 m beside
    the first. Transforms move the first view alone; use the second with a pipeline that
    leaves geometry as it is. With ``views='both'`` each camera is a sample of its own.

    Args:
        tasks (Mapping): Any of ``semseg`` (13 classes), ``depth``, ``normal``,
            ``boundary``, ``saliency``, ``part`` (7 classes); and ``albedo``, RGB in [0, 1], for
            a task of your own (``projects/example_new_task``).
        length (int): Number of scenes.
        split (str): 'train', 'val' or 'test'.
        size (tuple[int, int]): (H, W) in pixels, at least 8 each.
        seed (int): Family of scenes, 0 to 2**32 - 1.
        cache_dir (str | None): Folder that keeps rendered pictures, about 1 MB each at
            240x320. Safe to share between processes; damaged files are rendered anew.
            None renders each time.
        second_view (bool): Whether samples have the second camera's picture.
        views (str): ``'first'``: one sample per scene. ``'both'``: two, one per camera, so that
            :class:`~mmdense.evaluation.ViewConsistencyMetric` can compare what is
            predicted for them; they share ``pair_id`` and differ in ``view``, 0 or 1.
        **kwargs: As in :class:`~mmdense.datasets.BaseDenseDataset`.

    Raises:
        ValueError: If ``length``, ``split``, ``size``, ``seed`` or ``views`` is out of range.

    Example:
        >>> data = RoomsDataset(dict(depth=dict(type='Depth')), length=10, size=(24, 32))
        >>> data[3]['gt']['depth'].shape
        (24, 32)
    """

    METAINFO = dict(
        classes=CLASSES,
        palette=PALETTE,
        task_classes=dict(part=PARTS),
    )
    # No task of the library is called 'albedo'; projects/example_new_task has one.
    available_tasks = ('semseg', 'depth', 'normal', 'boundary', 'saliency', 'part', 'albedo')

    def __init__(
        self,
        tasks: Mapping[str, Any],
        length: int,
        split: str = 'train',
        size: tuple[int, int] = (240, 320),
        seed: int = 0,
        cache_dir: str | None = None,
        second_view: bool = False,
        views: str = 'first',
        **kwargs: Any,
    ) -> None:
        if length < 1:
            raise ValueError(f'RoomsDataset: `length` is {length}; ask for at least one scene.')
        self.size = (int(size[0]), int(size[1]))
        if views not in ('first', 'both'):
            raise ValueError(f"RoomsDataset.views is {views!r}; choose 'first' or 'both'.")
        check_request(seed, split, length - 1, self.size, 0)
        self.length = length
        self.split = split
        self.seed = seed
        self.second_view = second_view
        self.views = views
        self.cache = None if cache_dir is None else RoomCache(cache_dir)
        super().__init__(tasks, **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        name = f'rooms-{self.seed}-{self.split}'
        scenes = [dict(index=i, sample_id=f'{name}-{i:06d}') for i in range(self.length)]
        if self.views == 'first':
            return scenes
        return [
            dict(scene, sample_id=f'{scene["sample_id"]}-{v}', pair_id=scene['sample_id'], view=v)
            for scene in scenes
            for v in (0, 1)
        ]

    def read_sample(self, info: dict[str, Any]) -> dict[str, Any]:
        # No file lies behind a room: its name stands for the path in messages.
        sample = dict(img_path=info['sample_id'], sample_id=info['sample_id'])
        sample.update({key: info[key] for key in ('pair_id', 'view') if key in info})
        sample.update(self._view(info['index'], info.get('view', 0)))
        if self.second_view:
            sample['second_view'] = self._view(info['index'], 1)
        return sample

    def _view(self, index: int, view: int) -> dict[str, Any]:
        get = render_room if self.cache is None else self.cache.get
        room: RoomSample = get(self.seed, self.split, index, self.size, view)
        return dict(
            img=room.image,
            gt={key: truth_of(room, key) for key in self.tasks},
            intrinsics=room.intrinsics,
            pose=room.pose,
        )
