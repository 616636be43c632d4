"""What a file says about itself."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmdense.utils import suggest
from mmdense.utils.checkpoints import RECORD, SAFETENSORS, read_checkpoint, require_checkpoint
from mmdense.utils.config_check import ConfigError
from mmdense.utils.files import plain
from mmdense.utils.lazy import require
from mmdense.version import __version__

from .wrapper import size_rule

if TYPE_CHECKING:
    from mmdense.tasks import BaseTask

    from .exporting import ExportSettings

#: Name of the entry in the metadata of ONNX and ``torch.export`` files.
KEY = 'mmdense'
#: Name of the one input.
INPUT = 'image'
INSTALL = "pip install -e '.[export]'"
_PROGRAM = '.pt2'
_SUFFIXES = ('.onnx', _PROGRAM, '.pth', SAFETENSORS)


def describe_model(
    model: Any, settings: ExportSettings, origin: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Metadata of an exported network, as plain values.

    Args:
        model (DensePredictor): What is exported.
        settings (ExportSettings): What it is exported for.
        origin (Mapping | None): Further entries.

    Returns:
        dict: ``input`` (what to feed), ``output`` (what comes), ``tasks`` (key to what its map
        means), ``version`` of mmdense, and the entries of ``origin``.
    """
    preprocessor = model.data_preprocessor
    step, remainder = size_rule(model)
    record = dict(
        version=__version__,
        input=dict(
            name=INPUT,
            layout='BCHW',
            dtype='float32',
            colors='RGB',
            range=[0, 255],
            shape=list(settings.shape),
            dynamic=list(settings.dynamic),
            # Sides of a free size are n * step + remainder.
            size_rule=[step, remainder] if 'size' in settings.dynamic else None,
            # Inside the graph already; for whoever builds another one from the weights.
            normalised_inside=True,
            mean=preprocessor.mean.flatten().tolist(),
            std=preprocessor.std.flatten().tolist(),
        ),
        output=settings.output,
        tasks={key: describe_task(task) for key, task in model.tasks.items()},
    )
    described: dict[str, Any] = plain({**record, **(origin or {})})
    return described


def describe_task(task: BaseTask) -> dict[str, Any]:
    """What the map of a task means, for readers without mmdense."""
    palette = task.palette
    return dict(
        kind=task.map_kind,
        unit=task.map_unit,
        convention=task.convention,
        channels=task.gt_channels,
        logits=task.num_channels,
        classes=None if task.classes is None else list(task.classes),
        palette=None if palette is None else [[int(v) for v in color] for color in palette],
    )


def read_record(path: str | Path) -> dict[str, Any]:
    """What an exported network or a published checkpoint says about itself.

    Raises:
        ConfigError: If the file is missing, of another kind, or says nothing.
        MissingDependencyError: If a package that reads the format is missing.
    """
    path = Path(path)
    if path.suffix not in _SUFFIXES:
        raise ConfigError(f'{path}: unknown kind of file. {suggest(path.suffix, _SUFFIXES)}')
    if path.suffix in ('.pth', SAFETENSORS):
        require_checkpoint(str(path), 'FILE')
        record = (read_checkpoint(path).get('meta') or {}).get(RECORD)
    elif not path.is_file():
        raise ConfigError(f'{path} does not exist.')
    elif path.suffix == _PROGRAM:
        record = _record_of_program(path)
    else:
        record = _record_of_graph(path)
    if not isinstance(record, dict):
        raise ConfigError(
            f'{path} says nothing about itself: mmdense did not write it. Make it with '
            'tools/deployment/export.py or tools/model_converters/publish_model.py.'
        )
    return record


def _record_of_graph(path: Path) -> Any:
    onnx = require('onnx', f'reading {path}', INSTALL)
    graph = onnx.load(str(path), load_external_data=False)
    texts = {entry.key: entry.value for entry in graph.metadata_props}
    return json.loads(texts[KEY]) if KEY in texts else None


def _record_of_program(path: Path) -> Any:
    """The extra file of the archive, without building the program."""
    if not zipfile.is_zipfile(path):
        raise ConfigError(f'{path}: no program that torch.export wrote, or cut short.')
    with zipfile.ZipFile(path) as archive:
        found = [name for name in archive.namelist() if name.rsplit('/', 1)[-1] == KEY]
        return json.loads(archive.read(found[0])) if found else None
