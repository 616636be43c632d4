"""Data sets by a short name, with all their tasks: for tools that look at data alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmdense.datasets.folder_description import read_description
from mmdense.utils import DataError, suggest

_METRIC = dict(type='Depth', max_depth=1000.0)
_NORMAL = dict(type='Normal')


def _labels(count: int) -> dict[str, Any]:
    return dict(type='SemSeg', num_classes=count)


#: Short name to config; 'split' is filled in where the value of a key holds it.
_CONFIGS: dict[str, dict[str, Any]] = {
    'rooms': dict(
        type='RoomsDataset',
        length=100,
        split='{split}',
        tasks=dict(
            semseg=_labels(13),
            depth=_METRIC,
            normal=_NORMAL,
            boundary=dict(type='Boundary'),
            saliency=dict(type='Saliency'),
            part=dict(type='Part'),
        ),
    ),
    # Its tasks are those of its description.
    'folder': dict(type='FolderDataset', data_root='data/folder', split='{split}'),
    'nyud': dict(
        type='NYUDv2Dataset',
        data_root='data/nyud',
        ann_file='gt_sets/{split}.txt',
        tasks=dict(
            semseg=_labels(40), depth=_METRIC, normal=_NORMAL, boundary=dict(type='Boundary')
        ),
    ),
    'nyuv2': dict(
        type='NYUv2Dataset',
        data_root='data/nyuv2',
        split='{split}',
        tasks=dict(semseg=_labels(13), depth=_METRIC, normal=_NORMAL),
    ),
    'pascal': dict(
        type='PASCALContextDataset',
        data_root='data/pascal_context',
        ann_file='ImageSets/Context/{split}.txt',
        tasks=dict(
            semseg=_labels(21),
            part=dict(type='Part'),
            saliency=dict(type='Saliency'),
            normal=_NORMAL,
            boundary=dict(type='Boundary'),
        ),
    ),
    'cityscapes': dict(
        type='CityscapesDataset',
        data_root='data/cityscapes',
        split='{split}',
        tasks=dict(
            semseg=_labels(19),
            depth=dict(type='Depth', kind='disparity_px', min_depth=0.0, max_depth=256.0),
        ),
    ),
    'cityscapes-small': dict(
        type='CityscapesSmallDataset',
        data_root='data/cityscapes_small',
        split='{split}',
        tasks=dict(
            semseg=_labels(7),
            depth=dict(type='Depth', kind='inverse_norm', min_depth=0.0, max_depth=1.0),
        ),
    ),
    'taskonomy': dict(
        type='TaskonomyDataset',
        data_root='data/taskonomy',
        ann_file='splits/tiny_{split}.txt',
        tasks=dict(semseg=_labels(17), depth=_METRIC, normal=_NORMAL),
    ),
}
NAMES = tuple(_CONFIGS)


def named_dataset(
    name: str,
    split: str = 'train',
    data_root: str | None = None,
    tasks: Sequence[str] = (),
) -> dict[str, Any]:
    """The config of a data set.

    Args:
        name (str): One of :data:`NAMES`.
        split (str): 'train', 'val' or 'test'.
        data_root (str | None): Folder of the data; None: the usual one.
        tasks (Sequence[str]): Tasks to take; empty: all.

    Raises:
        DataError: If a name is unknown.

    Example:
        >>> named_dataset('nyud', 'val', tasks=['depth'])['ann_file']
        'gt_sets/val.txt'
    """
    if name not in _CONFIGS:
        raise DataError(f"There is no data set '{name}'. {suggest(name, NAMES)}")
    cfg: dict[str, Any] = {
        key: value.format(split=split) if isinstance(value, str) else value
        for key, value in _CONFIGS[name].items()
    }
    if data_root is not None:
        cfg['data_root'] = data_root
    if 'tasks' not in cfg:
        cfg['tasks'] = read_description(cfg['data_root']).task_configs()
    for key in tasks:
        if key not in cfg['tasks']:
            raise DataError(f"'{name}' has no task '{key}'. {suggest(key, cfg['tasks'])}")
    if tasks:
        cfg['tasks'] = {key: cfg['tasks'][key] for key in tasks}
    return cfg
