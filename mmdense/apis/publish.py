"""Checkpoints that are given away: only weights, named after their content."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from mmdense.models.regularizers.train_only import strip_checkpoint
from mmdense.utils.checkpoints import require_checkpoint, save_under_digest
from mmdense.utils.config_check import ConfigError

# What continuing a training needs and nobody else.
_TRAINING_ONLY = ('optimizer', 'param_schedulers', 'message_hub')


def publish(source: str, target: str, keep_meta: bool = True) -> Path:
    """Strip a checkpoint and write it under ``<target>-<first digits of its SHA-256>.pth``.

    Weights of training-only parts, such as regularizers, are left out. With an
    ``ema_state_dict``, the averaged weights are those that were validated, and are
    the ones that are kept.

    Args:
        source (str): Checkpoint of a training.
        target (str): Where to write, with or without ``.pth``.
        keep_meta (bool): Whether to keep the record of the training (config, iteration).

    Returns:
        Path: The file that was written; it appears whole or not at all.

    Raises:
        ConfigError: If ``source`` is missing, damaged, or holds no weights.
    """
    require_checkpoint(source, 'publish: source')
    # mmengine stores its own classes beside the weights, so the safe loader refuses it; the
    # file is the caller's own.
    checkpoint = torch.load(source, map_location='cpu', weights_only=False)
    if not isinstance(checkpoint, dict) or 'state_dict' not in checkpoint:
        raise ConfigError(f'{source} holds no `state_dict`, so there is nothing to publish.')
    checkpoint = strip_checkpoint(checkpoint)
    weights = _averaged(checkpoint) or checkpoint['state_dict']
    kept: dict[str, Any] = dict(state_dict={k: v.contiguous() for k, v in weights.items()})
    if keep_meta:
        rest = {k: v for k, v in checkpoint.items() if k not in _TRAINING_ONLY}
        kept = {**{k: v for k, v in rest.items() if 'state_dict' not in k}, **kept}
    return save_under_digest(kept, target.removesuffix('.pth'))


def _averaged(checkpoint: dict[str, Any]) -> dict[str, Any] | None:
    """Weights of mmengine's ``EMAHook``, under the names of the model."""
    averaged = checkpoint.get('ema_state_dict')
    if not averaged:
        return None
    return {
        name.removeprefix('module.'): value
        for name, value in averaged.items()
        if name.startswith('module.')
    }
