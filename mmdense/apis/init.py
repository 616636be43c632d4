"""A model that is ready to predict, from a config and a checkpoint."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope
from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn

from mmdense.engine.launch import BuildError, load_config
from mmdense.models.regularizers.train_only import strip_checkpoint
from mmdense.registry import MODELS
from mmdense.utils.checkpoints import is_remote, require_checkpoint
from mmdense.utils.config_check import ConfigError
from mmdense.utils.config_names import resolve_config
from mmdense.utils.user_errors import describe

if TYPE_CHECKING:
    from mmdense.structures import DenseMap

ConfigLike: TypeAlias = str | Path | Mapping[str, Any] | Config  # type: ignore[valid-type]


def init_model(
    config: ConfigLike | None,
    checkpoint: str | Path | None = None,
    device: str | torch.device = 'cpu',
    cfg_options: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Build a model for prediction.

    Args:
        config (str | Path | Mapping | Config | None): Path or name of a config (see
            :func:`~mmdense.utils.config_names.resolve_config`), or a config itself. None: the
            one that the checkpoint holds.
        checkpoint (str | Path | None): ``.pth`` or ``.safetensors``, or a remote address. None:
            random weights, with a warning.
        device (str | torch.device): Where the model lives. Defaults to ``'cpu'``.
        cfg_options (Mapping | None): Key paths to values that override the config.

    Returns:
        nn.Module: In evaluation mode, with its config as ``cfg``. Predictions come out at the
        size of the picture whatever ``model.test_cfg.resize`` says.

    Raises:
        ConfigError: If config or checkpoint is missing or wrong, or their weights do not fit.
        BuildError: If a part cannot be built.
    """
    stored = None if checkpoint is None else load_weights(str(checkpoint))
    cfg = _config_of(config, stored, checkpoint, cfg_options)
    if cfg.get('model') is None:
        raise ConfigError(f'config {_named(config)} has no `model`, so there is nothing to build.')
    model_cfg = ConfigDict(cfg.model.to_dict() if hasattr(cfg.model, 'to_dict') else cfg.model)
    model_cfg.pop('regularizers', None)  # they act in training only
    try:
        with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'mmdense'):
            model: Any = MODELS.build(model_cfg)
    except Exception as error:
        raise BuildError(describe(error, cfg)) from error
    if not hasattr(model, 'tasks'):
        raise ConfigError(
            f'config {_named(config)} describes a {type(model).__name__}, which has no tasks. '
            "Inference needs a model of mmdense, such as model=dict(type='DensePredictor', ...)."
        )
    if stored is None:
        warnings.warn('No checkpoint is given: the weights are random.', stacklevel=2)
    else:
        _load(model, stored['state_dict'], str(checkpoint))
    if isinstance(getattr(model, 'test_cfg', None), dict):
        model.test_cfg['resize'] = True
    model.cfg = cfg
    ready: nn.Module = model.to(device).eval()
    return ready


def load_weights(path: str) -> dict[str, Any]:
    """A checkpoint of training or a published one, on the CPU.

    Args:
        path (str): ``.pth``, ``.safetensors`` or a remote address.

    Returns:
        dict: ``state_dict``, without parts that act in training only, and what else the file
        holds.

    Raises:
        ConfigError: If the file is missing, damaged or holds no weights.
    """
    require_checkpoint(path, 'checkpoint')
    try:
        # Old files hold classes of mmengine beside the weights; the loader says so.
        found = CheckpointLoader.load_checkpoint(path, map_location='cpu', logger='silent')
    except (OSError, RuntimeError, EOFError) as error:
        if is_remote(path):
            raise
        raise ConfigError(
            f"checkpoint = '{path}' cannot be read ({error}). Copy or download it again."
        ) from error
    if not isinstance(found, Mapping):
        raise ConfigError(f"checkpoint = '{path}' holds a {type(found).__name__}, not weights.")
    if 'state_dict' not in found:
        tensors = {k: v for k, v in found.items() if isinstance(v, torch.Tensor)}
        if not tensors:
            raise ConfigError(f"checkpoint = '{path}' holds no weights: keys {list(found)[:8]}.")
        found = dict(state_dict=tensors)
    return strip_checkpoint(dict(found))


def _config_of(
    config: ConfigLike | None,
    stored: Mapping[str, Any] | None,
    checkpoint: str | Path | None,
    options: Mapping[str, Any] | None,
) -> Config:
    """The config as given, or the one in the checkpoint, with the options applied."""
    if isinstance(config, str | Path):
        return load_config(resolve_config(config), options)
    if config is None:
        text = _stored_config(stored or {})
        if not text:
            raise ConfigError(
                f"checkpoint = '{checkpoint}' holds no config. Name the config too."
                if checkpoint
                else 'Neither a config nor a checkpoint is given; name one of them.'
            )
        cfg = Config.fromstring(text, file_format='.py')
    else:
        cfg = Config(dict(config)) if not isinstance(config, Config) else config
        cfg = Config(cfg.to_dict())
    if options:
        cfg.merge_from_dict(dict(options))
    return cfg


def _stored_config(stored: Mapping[str, Any]) -> str:
    """Text of the config of a checkpoint, '' if it has none."""
    hub = stored.get('message_hub') or {}
    runtime = hub.get('runtime_info', {}) if isinstance(hub, Mapping) else {}
    meta = stored.get('meta') or {}
    return str(runtime.get('cfg') or meta.get('cfg') or '')


def _load(model: nn.Module, weights: Mapping[str, Any], path: str) -> None:
    """Load weights; all that the model has must be there, in its shape.

    Raises:
        ConfigError: If a weight is missing or of another shape.
    """
    weights = {key.removeprefix('module.'): value for key, value in weights.items()}
    own = model.state_dict()
    wrong = [key for key in own if key in weights and own[key].shape != weights[key].shape]
    missing = [key for key in own if key not in weights]
    faults = [*(f'{key} has another shape' for key in wrong), *(f'no {key}' for key in missing)]
    if faults:
        raise ConfigError(
            f"checkpoint = '{path}' does not fit the config: {len(faults)} of {len(own)} weights "
            f'of the model are missing or of another shape (first: {faults[0]}). Give the '
            'config that this checkpoint was trained with.'
        )
    unused = [key for key in weights if key not in own]
    if unused:
        warnings.warn(
            f'{path}: {len(unused)} weights have no place in the model, for example {unused[0]}.',
            stacklevel=3,
        )
    model.load_state_dict(dict(weights), strict=False)


def _named(config: ConfigLike | None) -> str:
    return f"'{config}'" if isinstance(config, str | Path) else 'given'


def inference_model(model: nn.Module, inputs: Any) -> list[dict[str, DenseMap]]:
    """Every map of every picture.

    Args:
        model (nn.Module): Of :func:`init_model`.
        inputs (Any): A picture, or many of them: file, folder, pattern, bytes, array or a list of
            these; see :class:`~mmdense.apis.DenseInferencer`, which also saves, streams and
            averages over windows and mirrored pictures.

    Returns:
        list[dict[str, DenseMap]]: Per picture, task key to map at the size of the picture.

    Raises:
        DataError: If a picture cannot be read.
    """
    from .inferencer import DenseInferencer

    found = DenseInferencer(model, show_progress=False)(inputs)
    return [maps for maps in found['predictions'] if maps is not None]
