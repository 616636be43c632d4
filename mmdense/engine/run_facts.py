"""What a results file says about the run behind its numbers."""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mmengine
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import get_world_size
from mmengine.runner import Runner

from mmdense.models.regularizers.train_only import is_train_only
from mmdense.version import __version__

# What says where and how, not what is trained: two runs that differ only here are one experiment.
_PLACES = frozenset((
    'data_root', 'cache_dir', 'backend_args', 'num_workers', 'persistent_workers', 'pin_memory',
    'prefetch_factor',
))  # fmt: skip
# Under this key the message hub keeps what a loaded checkpoint says of its training.
_ORIGIN = 'mmdense_checkpoint_origin'
_EXPERIMENT = (
    'tasks', 'model', 'train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler',
    'custom_hooks',
)  # fmt: skip


def describe_run(runner: Runner, mode: str) -> dict[str, Any]:
    """The ``run`` block of results files.

    Args:
        runner (Runner): With its model built.
        mode (str): ``'val'`` or ``'test'``: which data set is described.

    Returns:
        dict: ``config`` (name of the config file); ``experiment`` (digest of model, data,
        optimisation and schedule, without seed and places: equal for runs that differ in
        their seed alone); ``seed`` of the training; ``backbone`` (``name`` as in the config's
        file name, ``description``, ``weights``); ``parameters``; ``schedule``
        (``iterations``, ``batch_size`` over all processes, ``done``: iterations behind these
        weights); ``data`` (``dataset``, ``root``, ``split``); ``versions``. What is not known
        is None.
    """
    cfg = runner.cfg
    seed, done = _training_of(runner, mode)
    model = getattr(runner.model, 'module', runner.model)
    return dict(
        config=Path(cfg.filename).stem if cfg.filename else None,
        experiment=digest(cfg),
        seed=seed,
        backbone=describe_backbone(cfg),
        parameters=sum(p.numel() for n, p in model.named_parameters() if not is_train_only(n)),
        schedule=dict(
            iterations=(cfg.get('train_cfg') or {}).get('max_iters'),
            batch_size=_batch_size(cfg),
            done=done,
        ),
        data=describe_data((cfg.get(f'{mode}_dataloader') or {}).get('dataset') or {}),
        versions=dict(
            mmdense=__version__,
            mmengine=mmengine.__version__,
            torch=torch.__version__,
            numpy=np.__version__,
            python=platform.python_version(),
        ),
    )


def note_origin(runner: Runner, checkpoint: Mapping[str, Any]) -> None:
    """Remember the seed and the iteration of a checkpoint that was just loaded."""
    meta = checkpoint.get('meta') or {}
    origin = dict(seed=meta.get('seed'), iteration=meta.get('iter'))
    runner.message_hub.update_info(_ORIGIN, origin, resumed=False)


def _training_of(runner: Runner, mode: str) -> tuple[int | None, int | None]:
    """Seed and length of the training behind the weights.

    A process that only tests has a seed of its own, which says nothing of the weights.
    """
    if mode == 'val' or runner.iter > 0:
        return runner.seed, runner.iter
    origin = runner.message_hub.get_info(_ORIGIN, {})
    return origin.get('seed'), origin.get('iteration')


def describe_backbone(cfg: Config) -> dict[str, str | None]:
    """Name, arguments and initial weights of the backbone of a config.

    Example:
        >>> backbone = dict(type='mmdense.ResNet', depth=18, base_channels=32)
        >>> describe_backbone(Config(dict(model=dict(backbone=backbone))))['description']
        'ResNet(base_channels=32, depth=18)'
    """
    backbone = (cfg.get('model') or {}).get('backbone') or {}
    kind = backbone.get('type')
    # <method>_<backbone>_<gpus>xb<batch>-<iterations>_<data>-<size>
    match = re.match(r'[^_]+_([^_]+)_\d+xb\d+', Path(cfg.filename or '').stem)
    arguments = sorted((k, v) for k, v in backbone.items() if k not in ('type', 'init_cfg'))
    description = None
    if kind is not None:
        kind = kind.rpartition('.')[2] if isinstance(kind, str) else kind.__name__
        description = f'{kind}({", ".join(f"{key}={value!r}" for key, value in arguments)})'
    return dict(
        name=match.group(1) if match else None,
        description=description,
        weights=_weights(backbone.get('init_cfg')) if backbone else None,
    )


def _weights(init_cfg: Any) -> str:
    for entry in init_cfg if isinstance(init_cfg, (list, tuple)) else [init_cfg]:
        if isinstance(entry, Mapping) and entry.get('checkpoint'):
            return str(entry['checkpoint']).rpartition('/')[2]
    return 'random'


def describe_data(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """Class, folder and split of a data set's config.

    The split is what the config names so, else the stem of its list file.
    """
    kind = dataset.get('type')
    if kind is not None:
        kind = kind.rpartition('.')[2] if isinstance(kind, str) else kind.__name__
    listed = Path(str(dataset.get('ann_file') or '')).stem or None
    return dict(dataset=kind, root=dataset.get('data_root'), split=dataset.get('split') or listed)


def digest(cfg: Config) -> str:
    """First 12 digits of the SHA-256 of what is trained and how, without seed and places."""
    kept = {key: _without_places(cfg.get(key)) for key in _EXPERIMENT}
    text = json.dumps(kept, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _without_places(value: Any) -> Any:
    if isinstance(value, Mapping):
        kept = {str(k): _without_places(v) for k, v in value.items() if k not in _PLACES}
        if isinstance(kept.get('checkpoint'), str):  # the file matters, not its folder
            kept['checkpoint'] = kept['checkpoint'].rpartition('/')[2]
        return kept
    if isinstance(value, (list, tuple)):
        return [_without_places(item) for item in value]
    return value


def _batch_size(cfg: Config) -> int | None:
    """Pictures per optimizer step over all processes."""
    each = (cfg.get('train_dataloader') or {}).get('batch_size')
    if each is None:
        return None
    steps = (cfg.get('optim_wrapper') or {}).get('accumulative_counts', 1)
    return int(each) * get_world_size() * int(steps)
