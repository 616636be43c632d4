"""Where a run logs to besides its own files: ``tools/train.py --log-to``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config

from mmdense.utils import require, suggest
from mmdense.utils.config_check import ConfigError


class LogTarget(NamedTuple):
    """A backend of mmengine's visualiser.

    Attributes:
        backend: Its type.
        module: What it imports.
        install: The command that installs that.
    """

    backend: str
    module: str
    install: str


LOG_TARGETS = {
    'tensorboard': LogTarget(
        'TensorboardVisBackend', 'torch.utils.tensorboard', 'pip install tensorboard'
    ),
    'wandb': LogTarget('WandbVisBackend', 'wandb', 'pip install wandb'),
}


def log_to(cfg: Config, names: Sequence[str]) -> None:
    """Add backends to the visualiser of a config, unless it has them already.

    Numbers, panels and the config go there; the files of the run stay as they are. Runs on W&B
    belong to the project ``mmdense`` and are called like the work directory; a config that states
    the backend itself keeps its own arguments.

    Args:
        cfg (Config): Changed in place; ``work_dir`` is set already.
        names (Sequence[str]): Of :data:`LOG_TARGETS`.

    Raises:
        ConfigError: If a name is unknown.
        MissingDependencyError: If what a backend imports does not load.
    """
    if not names:
        return
    visualizer = cfg.get('visualizer') or dict(type='Visualizer')
    backends: list[dict[str, Any]] = list(visualizer.get('vis_backends') or [])
    # The files come from a backend too, which mmengine adds only where none is stated.
    backends = backends or [dict(type='LocalVisBackend')]
    for name in names:
        if name not in LOG_TARGETS:
            raise ConfigError(f'--log-to {name}: {suggest(name, LOG_TARGETS)}')
        target = LOG_TARGETS[name]
        require(target.module, f'--log-to {name}', target.install)
        if any(str(backend['type']).endswith(target.backend) for backend in backends):
            continue
        added: dict[str, Any] = dict(type=target.backend)
        if name == 'wandb':
            added['init_kwargs'] = dict(project='mmdense', name=Path(cfg.work_dir).name)
        backends.append(added)
    cfg.visualizer = dict(visualizer, vis_backends=backends)
