"""Evaluation profiles: which variant of every metric a line of published work reports.

Data, not code: profile -> data set -> task -> the registry configs of its metrics and the
number that stands for the task. ``MultiTaskEvaluator(tasks, profile='atrc', data='nyud')``
takes its metrics from here.

=============  =====================================================================
profile        who reports these numbers
=============  =====================================================================
``atrc``       ATRC, MQTransformer, DeMT; native size, padding ignored
``invpt``      InvPT; as ``atrc`` but for a second sigmoid on saliency
``mti``        ASTMT, MTI-Net, the multi-task survey: 8-bit files at native size
``mtcp``       MT-CP: as ``mti``, depth below 6.5535 m, and the loss of edges
``mtan``       MTAN: NYUv2 with 13 classes and small Cityscapes, scores per picture
``libmtl``     LibMTL: the same data, scores pooled
``ctal``       CTAL: the same data and PASCAL-Context, pooled, relative error of depth
``emanet``     EMA-Net, the first release of CTAL: other masks, RMSE of depth
``taskprompter``  TaskPrompter: ``invpt``, and full Cityscapes with disparity
``eigen``      monocular depth: Eigen crop, per picture
=============  =====================================================================
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mmdense.utils import suggest

Configs = list[dict[str, Any]]


@dataclass(frozen=True)
class TaskProtocol:
    """How a profile scores one task.

    Attributes:
        metrics: Registry configs of the metrics.
        headline: The metric that stands for the task.
    """

    metrics: Configs
    headline: str


def _of(headline: str, kind: str, **arguments: Any) -> TaskProtocol:
    return TaskProtocol([dict(type=kind, **arguments)], headline)


#: Lists of the pictures of PASCAL-Context on which boundaries are scored, below the data's root.
_EDGE_LIST = 'ImageSets/Context/{split}.txt'

# One entry per rule that several profiles share.
_SEG_ZERO = _of('mIoU', 'SegMetric', absent='zero')
_SEG_SKIP = _of('mIoU', 'SegMetric', absent='skip')
_SEG_NAN = _of('mIoU', 'SegMetric', absent='nan')
_SEG_PICTURE = _of('mIoU', 'SegMetric', average='image')
_PART_TENSOR = _of('mIoU', 'SegMetric', absent='zero', skip_images='background')
_PART_FILE = _of('mIoU', 'SegMetric', absent='zero', skip_images='single_value')
_NORMAL = _of('mean', 'NormalMetric')
_NORMAL_FILE = _of('mean', 'NormalMetric', formula='arccos', quantize='uint8')
_NORMAL_PICTURE = _of('mean', 'NormalMetric', formula='arccos', valid_rule='sum', median='image')
_NORMAL_SUM = _of('mean', 'NormalMetric', formula='arccos', valid_rule='sum')
_RMSE_ATRC = _of('rmse', 'DepthMetric', clamp=0.0)
_RMSE = _of('rmse', 'DepthMetric', clamp=1e-9)
_RMSE_NEAR = _of('rmse', 'DepthMetric', clamp=1e-9, max_depth=6.5535)
_ABS_REL = _of('abs_rel', 'DepthMetric', clamp=1e-9)
_RMSE_RAW = _of('rmse', 'DepthMetric', clamp=None)
_ABS_ERR = _of('abs_err', 'DepthMetric', clamp=None)
_ABS_ERR_PICTURE = _of('abs_err', 'DepthMetric', clamp=None, average='image')
_MAX_F = _of('maxF', 'BinaryFMetric')
_MAX_F_TWICE = _of('maxF', 'BinaryFMetric', sigmoid_again=True)
_SALIENCY_FILE = _of(
    'mIoU',
    'BinaryFMetric',
    beta2=1.0,
    # k / 20 with k = 4 .. 18, the floats nearest to 0.2 .. 0.9.
    thresholds=[k / 20 for k in range(4, 19)],
    strict=True,
    average='image',
    quantize='uint8',
)
_EDGE_LOSS = _of('loss', 'EdgeLossMetric', positive_weight=0.95, logit_of_probability=False)
_ODS_NYUD = _of('odsF', 'BoundaryMetric', max_dist=0.011, nms=True, gt='edges')
_ODS_PASCAL = _of(
    'odsF',
    'BoundaryMetric',
    max_dist=0.0075,
    nms=True,
    gt='labels',
    label_field='gt_context',
    subset=_EDGE_LIST.format(split='test_new'),
)
_ODS_PASCAL_RAW = _of(
    'odsF', 'BoundaryMetric', max_dist=0.0075, nms=False, gt='labels', label_field='gt_context'
)

# Rooms have no label map of every category: their boundaries are those of instances.
_ODS_ROOMS_RAW = _of('odsF', 'BoundaryMetric', max_dist=0.0075, nms=False, gt='edges')

_ATRC_NYUD = dict(semseg=_SEG_ZERO, depth=_RMSE_ATRC, normal=_NORMAL, boundary=_ODS_NYUD)
_ATRC_PASCAL = dict(
    semseg=_SEG_ZERO, part=_PART_TENSOR, saliency=_MAX_F, normal=_NORMAL, boundary=_ODS_PASCAL
)
_INVPT_NYUD = dict(_ATRC_NYUD, depth=_RMSE)
_INVPT_PASCAL = dict(_ATRC_PASCAL, saliency=_MAX_F_TWICE)
_MTI_NYUD = dict(semseg=_SEG_ZERO, depth=_RMSE, normal=_NORMAL_FILE)
_MTI_PASCAL = dict(
    semseg=_SEG_ZERO,
    part=_PART_FILE,
    saliency=_SALIENCY_FILE,
    normal=_NORMAL_FILE,
    boundary=_ODS_PASCAL_RAW,
)
_CTAL = dict(semseg=_SEG_SKIP, depth=_ABS_REL, normal=_NORMAL)
# The paper's tables have the loss; odsF beside it compares with other work.
_EDGE_BOTH = TaskProtocol(
    [dict(type='EdgeLossMetric', positive_weight=0.95), *_ODS_PASCAL.metrics], 'loss'
)
_EIGEN = dict(
    depth=_of(
        'rmse',
        'DepthMetric',
        min_depth=1e-3,
        max_depth=10.0,
        average='image',
        crop='eigen',
        clamp='range',
    )
)

#: Profile -> data set -> task -> protocol.
PROFILES: dict[str, dict[str, dict[str, TaskProtocol]]] = dict(
    # Rooms have the tasks of both: where they meet, the rule of NYUD-v2 serves.
    atrc=dict(nyud=_ATRC_NYUD, pascal=_ATRC_PASCAL, rooms=_ATRC_PASCAL | _ATRC_NYUD),
    invpt=dict(nyud=_INVPT_NYUD, pascal=_INVPT_PASCAL, rooms=_INVPT_PASCAL | _INVPT_NYUD),
    mti=dict(
        nyud=_MTI_NYUD,
        pascal=_MTI_PASCAL,
        rooms=_MTI_PASCAL | _MTI_NYUD | dict(boundary=_ODS_ROOMS_RAW),
    ),
    mtcp=dict(
        nyud=dict(_MTI_NYUD, depth=_RMSE_NEAR, boundary=_EDGE_LOSS),
        pascal=dict(_MTI_PASCAL, boundary=_EDGE_LOSS),
    ),
    mtan=dict(
        nyuv2=dict(semseg=_SEG_PICTURE, depth=_ABS_ERR_PICTURE, normal=_NORMAL_PICTURE),
        cityscapes=dict(semseg=_SEG_PICTURE, depth=_ABS_ERR_PICTURE),
    ),
    libmtl=dict(
        nyuv2=dict(semseg=_SEG_NAN, depth=_ABS_ERR, normal=_NORMAL_SUM),
        cityscapes=dict(semseg=_SEG_NAN, depth=_ABS_ERR),
    ),
    ctal=dict(
        nyuv2=_CTAL,
        cityscapes=dict(semseg=_SEG_SKIP, depth=_ABS_REL),
        pascal=dict(_ATRC_PASCAL, boundary=_EDGE_BOTH),
        rooms=_CTAL,
    ),
    emanet=dict(
        nyuv2=dict(semseg=_SEG_SKIP, depth=_RMSE_RAW, normal=_NORMAL_SUM),
        cityscapes=dict(semseg=_SEG_SKIP, depth=_ABS_ERR),
    ),
    taskprompter=dict(
        nyud=_INVPT_NYUD,
        pascal=_INVPT_PASCAL,
        # Sky, at zero disparity, is trained but not scored.
        cityscapes=dict(
            semseg=_SEG_ZERO, depth=_of('rmse', 'DepthMetric', clamp=1e-9, max_depth=80.0)
        ),
    ),
    eigen=dict(nyud=_EIGEN, nyuv2=_EIGEN, rooms=_EIGEN),
)

#: What most work on a data set reports.
DEFAULT_PROFILES = dict(
    nyud='atrc', pascal='atrc', nyuv2='libmtl', cityscapes='libmtl', rooms='atrc'
)


def choose_profile(
    profile: str | None,
    data: str | None,
    tasks: Iterable[str],
    edge_split: str | None = 'test_new',
) -> dict[str, TaskProtocol]:
    """The protocols of a profile for the tasks at hand.

    Args:
        profile (str | None): Its name. None: the usual one of the data set.
        data (str | None): The data set, by its short name (``nyud``, ``nyuv2``,
            ``pascal``, ``cityscapes``, ``rooms``).
        tasks (Iterable[str]): Keys of the tasks that need a protocol.
        edge_split (str | None): List that takes the place of ``test_new`` where a profile
            scores boundaries on that part of the validation pictures; None: all pictures.

    Returns:
        dict[str, TaskProtocol]: Task key to protocol.

    Raises:
        KeyError: If profile, data set or one of the tasks is unknown to the table.
    """
    if profile is None:
        if data not in DEFAULT_PROFILES:
            raise KeyError(
                f'evaluator.data is {data!r}, a data set without a usual profile. '
                f'{suggest(str(data), DEFAULT_PROFILES)} Or name a `profile`, or leave both out.'
            )
        profile = DEFAULT_PROFILES[data]
    if profile not in PROFILES:
        raise KeyError(f'evaluator.profile is {profile!r}. {suggest(profile, PROFILES)}')
    sets = PROFILES[profile]
    if data not in sets:
        raise KeyError(
            f'evaluator: profile {profile!r} does not say how to score data={data!r}. '
            f'{suggest(str(data), sets)}'
        )
    chosen = {}
    for key in tasks:
        if key not in sets[data]:
            raise KeyError(
                f"evaluator: profile {profile!r} scores no task '{key}' on data={data!r}. "
                f'{suggest(key, sets[data])} Say how with metrics=dict({key}=[...]), or choose '
                'another profile.'
            )
        chosen[key] = copy.deepcopy(sets[data][key])
        for cfg in chosen[key].metrics:
            if 'subset' in cfg:
                cfg['subset'] = edge_split and _EDGE_LIST.format(split=edge_split)
    return chosen


def profile_name(profile: str | None, data: str | None) -> str | None:
    """What reports call the profile; None where tasks bring their own metrics."""
    if profile is None and data is not None:
        return DEFAULT_PROFILES.get(data)
    return profile


def describe_profiles() -> list[Mapping[str, str]]:
    """Rows of ``profile``, ``data``, ``task``, ``metric``, ``headline`` for tables."""
    return [
        dict(
            profile=profile,
            data=data,
            task=task,
            metric='; '.join(_call(cfg) for cfg in protocol.metrics),
            headline=protocol.headline,
        )
        for profile, sets in PROFILES.items()
        for data, tasks in sets.items()
        for task, protocol in tasks.items()
    ]


def _call(cfg: Mapping[str, Any]) -> str:
    arguments = [f'{key}={value!r}' for key, value in cfg.items() if key != 'type']
    return f'{cfg["type"]}({", ".join(arguments)})'
