"""Loading of pretrained weights that says what it loaded, and refuses to load nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import torch
from mmengine.dist import barrier, get_rank
from mmengine.logging import print_log
from mmengine.model import update_init_info
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn

StateDict = dict[str, Tensor]
_SHOWN_NAMES = 5


@dataclass
class LoadReport:
    """How the keys of a module and of a checkpoint fit together.

    Batch norm counters (``num_batches_tracked``) that a checkpoint lacks are not counted:
    old releases do not have them and nothing here reads them.

    Attributes:
        matched (list[str]): Keys in both, with the same shape.
        missing (list[str]): Keys of the module that the checkpoint lacks.
        unexpected (list[str]): Keys of the checkpoint that the module lacks.
        mismatched (list[str]): Keys in both with different shapes, written as
            ``'name (checkpoint 3x4, model 5x4)'``.
        dropped (list[str]): Keys of the module left at initialisation on request.
    """

    matched: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)

    @property
    def missing_share(self) -> float:
        """Share of the wanted keys of the module that found no weight, in [0, 1]."""
        absent = len(self.missing) + len(self.mismatched)
        wanted = absent + len(self.matched)
        return absent / wanted if wanted else 0.0

    def counts(self) -> str:
        """One line of counts."""
        return (
            f'{len(self.matched)} keys matched, {len(self.missing)} missing, '
            f'{len(self.mismatched)} of wrong shape, {len(self.unexpected)} unexpected, '
            f'{len(self.dropped)} dropped'
        )

    def names(self) -> str:
        """The first few names of each kind that did not match; empty if all did."""
        kinds = {
            'missing': self.missing,
            'wrong shape': self.mismatched,
            'unexpected': self.unexpected,
            'dropped': self.dropped,
        }
        return '; '.join(f'{kind}: {_some(names)}' for kind, names in kinds.items() if names)


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _SHOWN_NAMES
    return ', '.join(names[:_SHOWN_NAMES]) + (f' and {rest} more' if rest > 0 else '')


def _shape(tensor: Tensor) -> str:
    return 'x'.join(map(str, tensor.shape)) or 'scalar'


def compare_state_dicts(
    module: nn.Module | Mapping[str, Tensor],
    state_dict: Mapping[str, Tensor],
    drop: Sequence[str] = (),
) -> LoadReport:
    """Compare the keys and shapes of a module with a state dict; loads nothing.

    Args:
        module (nn.Module | Mapping[str, Tensor]): The receiver, or its weights.
        state_dict (Mapping[str, Tensor]): What is offered, in the module's naming.
        drop (Sequence[str]): Regular expressions, searched in the names; keys of the
            module that one matches stay at their initialisation.

    Returns:
        LoadReport: Every key in exactly one list.
    """
    report = LoadReport()
    patterns = [re.compile(pattern) for pattern in drop]
    own = module.state_dict() if isinstance(module, nn.Module) else module
    for name, tensor in own.items():
        if any(pattern.search(name) for pattern in patterns):
            report.dropped.append(name)
        elif name not in state_dict:
            if not name.endswith('num_batches_tracked'):
                report.missing.append(name)
        elif state_dict[name].shape != tensor.shape:
            text = f'{name} (checkpoint {_shape(state_dict[name])}, model {_shape(tensor)})'
            report.mismatched.append(text)
        else:
            report.matched.append(name)
    report.unexpected = [name for name in state_dict if name not in own]
    return report


def read_state_dict(checkpoint: str, asked_by: str, map_location: str = 'cpu') -> StateDict:
    """Read the weights of a checkpoint file, whatever wrapper they are in.

    Args:
        checkpoint (str): Path, URL or any scheme that mmengine's ``CheckpointLoader`` knows.
        asked_by (str): Who asks, for the error text.
        map_location (str): Device to read to. Defaults to ``'cpu'``.

    Raises:
        FileNotFoundError: If there is no such file.
        ConnectionError: If it cannot be downloaded.
        ValueError: If the file holds no weights.
    """
    try:
        content = _read_content(checkpoint, map_location)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{asked_by}: the file '{checkpoint}' of `init_cfg.checkpoint` does not exist. "
            'Correct the path, or remove `init_cfg` to train from scratch.'
        ) from error
    except URLError as error:
        raise ConnectionError(
            f"{asked_by}: '{checkpoint}' of `init_cfg.checkpoint` cannot be downloaded "
            f'({error.reason}). Fetch it where there is a network, and put it into '
            f'{torch.hub.get_dir()}/checkpoints or name the file in `init_cfg.checkpoint`; without '
            '`init_cfg` training starts from scratch.'
        ) from error
    for key in ('state_dict', 'model'):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping):
        raise ValueError(
            f"{asked_by}: '{checkpoint}' holds a {type(content).__name__}, expected a state dict, "
            "alone or under the key 'state_dict' or 'model'."
        )
    tensors = {key: value for key, value in content.items() if isinstance(value, Tensor)}
    return {key.removeprefix('module.'): value for key, value in tensors.items()}


def _read_content(checkpoint: str, map_location: str) -> Any:
    """What a file holds; ``.npz`` (the Vision Transformer of its authors) as tensors by name."""
    if not checkpoint.endswith('.npz'):
        return CheckpointLoader.load_checkpoint(checkpoint, map_location=map_location)
    path = Path(checkpoint)
    if '://' in checkpoint:
        path = Path(torch.hub.get_dir(), 'checkpoints', path.name)
        if get_rank() == 0 and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(checkpoint, str(path))
        barrier()
    with np.load(path) as arrays:
        return {name: torch.from_numpy(arrays[name]).to(map_location) for name in arrays}


def _strip_prefix(state_dict: StateDict, prefix: str, where: str) -> StateDict:
    prefix = prefix.rstrip('.') + '.'
    inside = {k[len(prefix) :]: v for k, v in state_dict.items() if k.startswith(prefix)}
    if not inside:
        roots = sorted({key.split('.')[0] for key in state_dict})
        raise ValueError(
            f"{where}: no key starts with `init_cfg.prefix`='{prefix}'. The checkpoint has keys "
            f'under: {_some(roots)}. Correct or remove `prefix`.'
        )
    return inside


def load_pretrained(
    module: nn.Module,
    checkpoint: str,
    prefix: str | None = None,
    convert: Callable[[StateDict], StateDict] | None = None,
    max_missing: float = 0.0,
    drop: Sequence[str] = (),
    map_location: str = 'cpu',
) -> LoadReport:
    """Load pretrained weights into a module, and report what fitted.

    Args:
        module (nn.Module): The receiver.
        checkpoint (str): Path, URL or any scheme that mmengine's ``CheckpointLoader`` knows.
        prefix (str | None): Take only the keys below this prefix. Defaults to None.
        convert (Callable | None): Renames keys to the module's naming. Defaults to None.
        max_missing (float): Share of the module's keys that may find no weight of their
            shape, in [0, 1]. Defaults to 0.
        drop (Sequence[str]): Regular expressions of keys to leave at initialisation.
        map_location (str): Device to read to. Defaults to ``'cpu'``.

    Returns:
        LoadReport: What matched and what did not; also logged.

    Raises:
        FileNotFoundError: If there is no such file.
        ConnectionError: If it cannot be downloaded.
        ValueError: If the file holds no weights, none below ``prefix``, or too few.
    """
    name = type(module).__name__
    where = f"{name}: pretrained weights '{checkpoint}'"
    state_dict = read_state_dict(checkpoint, name, map_location)
    if prefix:
        state_dict = _strip_prefix(state_dict, prefix, where)
    if convert is not None:
        state_dict = convert(state_dict)
    report = compare_state_dicts(module, state_dict, drop)
    if report.missing_share > max_missing:
        raise ValueError(
            f'{where}: {report.counts()} ({report.names()}). {report.missing_share:.1%} of the '
            f'keys of the model found no weight, `max_missing`={max_missing:g} allows less. '
            'Check that checkpoint and architecture belong together, set `init_cfg.prefix`, or '
            'raise `init_cfg.max_missing` to accept this.'
        )
    module.load_state_dict({key: state_dict[key] for key in report.matched}, strict=False)
    names = report.names()
    print_log(f'{where}: {report.counts()}' + (f' ({names})' if names else ''), logger='current')
    return report


class _Pretrained:
    """Initializer of the form mmengine calls while it keeps its record of initialisations."""

    def __init__(self, **options: Any) -> None:
        self.options = options

    def __call__(self, module: nn.Module) -> None:
        load_pretrained(module, **self.options)
        if hasattr(module, '_params_init_info'):
            update_init_info(module, f'Pretrained: loaded from {self.options["checkpoint"]}')


class PretrainedInitMixin:
    """``init_cfg=dict(type='Pretrained', ...)`` goes through :func:`load_pretrained`.

    Comes before ``BaseModule`` among the bases. mmengine's own handling of that type loads
    whatever happens to match; this one also takes ``max_missing`` and ``drop``, renames keys
    by ``convert_keys`` and fails when too little matches. Other initialisers in a list of
    ``init_cfg`` run first.
    """

    init_cfg: Any
    is_init: bool

    @staticmethod
    def convert_keys(state_dict: StateDict) -> StateDict:
        """Rename the keys of public releases to those of this module."""
        return state_dict

    def _own_initializer(self, cfg: dict[str, Any]) -> dict[str, Any]:
        options = {key: value for key, value in cfg.items() if key != 'type'}
        allowed = ('checkpoint', 'prefix', 'max_missing', 'drop', 'map_location')
        unknown = sorted(set(options) - set(allowed))
        if unknown or not options.get('checkpoint'):
            raise ValueError(
                f"{type(self).__name__}: init_cfg of type 'Pretrained' has {sorted(options)}; "
                f'`checkpoint` is required and allowed are {", ".join(allowed)}.'
            )
        return dict(type=_Pretrained, convert=self.convert_keys, **options)

    def init_weights(self) -> None:
        given = self.init_cfg
        cfgs = [given] if isinstance(given, dict) else list(given or ())
        ours = [cfg for cfg in cfgs if _is_pretrained(cfg)]
        others = [cfg for cfg in cfgs if not _is_pretrained(cfg)]
        # mmengine runs the list in order and keeps its books; it only must not see the type
        # name that it treats itself.
        self.init_cfg = others + [self._own_initializer(cfg) for cfg in ours]
        try:
            super().init_weights()  # type: ignore[misc]
        finally:
            self.init_cfg = given


def _is_pretrained(cfg: dict[str, Any]) -> bool:
    kind = cfg.get('type')
    return (kind if isinstance(kind, str) else getattr(kind, '__name__', '')) in (
        'Pretrained',
        'PretrainedInit',
    )
