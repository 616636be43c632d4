"""What the commands of ``tools/model_converters`` share."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import torch

from mmdense.engine.launch import load_config
from mmdense.models.utils import LoadReport
from mmdense.utils.checkpoints import require_checkpoint
from mmdense.utils.files import atomic_write_bytes

from .model_parts import build_model


def convert_release(
    config: str, source: str, target: str, load: Callable[[Any, str], LoadReport]
) -> LoadReport:
    """Load released weights into the model of a config, and write them under its names.

    Args:
        config (str): Config of the same model.
        source (str): Released checkpoint.
        target (str): File to write.
        load (Callable): Loads a checkpoint of the release into a model.

    Returns:
        LoadReport: What matched and what did not.
    """
    require_checkpoint(source, 'source')
    model = build_model(load_config(config, check=('model',)), 'cpu')
    report = load(model, source)
    buffer = io.BytesIO()
    torch.save(dict(state_dict=model.state_dict()), buffer)
    atomic_write_bytes(target, buffer.getvalue())
    return report
