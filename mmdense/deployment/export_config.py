"""From a config and a checkpoint to an exported file that was compared with the model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from terminaltables import AsciiTable
from torch import nn

from mmdense.apis.init import init_model, load_weights
from mmdense.apis.model_parts import input_size
from mmdense.engine.launch import load_config
from mmdense.utils.checkpoints import RECORD, is_remote
from mmdense.utils.config_check import ConfigError, require_valid_config
from mmdense.utils.config_names import resolve_config

from .exporting import FORMATS, ExportError, ExportSettings, deploy, save
from .inspection import summary
from .loading import ExportedModel
from .parity import Parity, check_export, shapes_to_check, worst
from .wrapper import Size, size_rule


@dataclass(frozen=True)
class ExportOrder:
    """What is to be exported, and how; see ``tools/deployment/export.py``."""

    config: str
    out: Path
    checkpoint: str | None = None
    form: str | None = None
    shape: Size | None = None
    dynamic: tuple[str, ...] = ('batch',)
    output: str = 'maps'
    opset: int = 20
    deform_conv: bool = False
    licence: str | None = None
    cfg_options: Mapping[str, Any] | None = None

    @property
    def kind(self) -> str:
        """The format, by the suffix of the file where it is not given.

        Raises:
            ConfigError: If neither says it.
        """
        for form, suffix in FORMATS.items():
            if self.form == form or (self.form is None and self.out.suffix == suffix):
                return form
        raise ConfigError(
            f'--out {self.out}: end it with {" or ".join(FORMATS.values())}, or give --format.'
        )


def export_config(order: ExportOrder, tolerance: float | None) -> str:
    """Export a model, compare the file with it, and describe both.

    Args:
        order (ExportOrder): What and how.
        tolerance (float | None): Largest relative difference. None: nothing is compared.

    Returns:
        str: Tables for people.

    Raises:
        ConfigError: If the config, the checkpoint or an option is wrong.
        ExportError: If the model cannot be exported so, or the file differs from it.
    """
    kind = order.kind
    cfg = load_config(resolve_config(order.config), order.cfg_options)
    require_valid_config(cfg, order.config)
    try:
        settings = ExportSettings(
            order.shape or input_size(cfg),
            order.dynamic,
            order.output,
            order.opset,
            order.deform_conv,
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error
    model, origin = load_model(order.config, order.checkpoint, order.cfg_options)
    if order.licence is not None:
        origin['licence'] = order.licence
    path = save(model, order.out, settings, kind, origin)
    text = summary(path)
    if tolerance is None:
        return text
    rows = check_export(
        deploy(model, settings),
        ExportedModel(path),
        shapes_to_check(settings.shape, settings.dynamic, size_rule(model)),
    )
    found = worst(rows)
    text = f'{text}\n{table(rows)}\nlargest relative difference: {found:.2e}'
    # Written so that NaN does not pass.
    if not found <= tolerance:
        raise ExportError(
            f'{text}\n{path} differs from PyTorch by {found:.2e}, more than {tolerance:g}. The '
            'file is left there for inspection.'
        )
    return f'{text}, at most {tolerance:g}: equal'


def load_model(
    config: str, checkpoint: str | None, cfg_options: Mapping[str, Any] | None = None
) -> tuple[nn.Module, dict[str, Any]]:
    """The network of a config without its regularizers, and where it comes from.

    Args:
        config (str): Path or name.
        checkpoint (str | None): File or address. None: initial weights.
        cfg_options (Mapping | None): Key paths to values that override the config.

    Returns:
        tuple: The model in ``eval`` mode on the CPU, and entries for the metadata.

    Raises:
        BuildError: If the model cannot be built.
        ConfigError: If the checkpoint is missing or damaged, or does not fit.
    """
    model = init_model(config, checkpoint, cfg_options=cfg_options)
    origin: dict[str, Any] = dict(config=Path(config).stem, licence='not stated')
    if checkpoint is None:
        return model, dict(origin, checkpoint='none: initial weights')
    origin['checkpoint'] = Path(checkpoint).name
    if not is_remote(checkpoint):
        origin['checkpoint_sha256'] = hashlib.sha256(Path(checkpoint).read_bytes()).hexdigest()
    record = (load_weights(checkpoint).get('meta') or {}).get(RECORD)
    if isinstance(record, dict):
        told = ('licence', 'metrics', 'evaluation', 'weights_sha256')
        origin |= {key: record[key] for key in told if key in record}
    return model, origin


def table(rows: list[Parity]) -> str:
    """Comparison of shapes and tasks as people read it."""
    lines = [
        [
            'x'.join(map(str, row.shape)),
            row.task,
            f'{row.relative:.2e}',
            f'{row.absolute:.2e}',
            f'{row.spread:.2e}',
        ]
        for row in rows
    ]
    head = ['output', 'task', 'max rel. difference', 'max abs. difference', 'spread of values']
    return AsciiTable([head, *lines], 'against PyTorch, float32').table
