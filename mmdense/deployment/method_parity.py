"""Whether every method of the library leaves Python unharmed."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from mmdense.apis.model_parts import build_model, deployed, input_size
from mmdense.engine.launch import load_config
from mmdense.utils.config_names import resolve_config
from mmdense.utils.errors import MissingDependencyError
from mmdense.utils.files import atomic_write_json

from .exporting import FORMATS, ExportError, ExportSettings, deploy, save, to_program
from .inspection import inspect_file
from .loading import ExportedModel
from .parity import TOLERANCE, check_export, disturb, shapes_to_check, worst
from .wrapper import size_rule

#: One small config of every method, by name.
METHODS = {
    'PolyMaX': 'polymax_convnext-atto_1xb8-quickstart_rooms-96x128',
    'CTAL, one scale': 'ctal-ss_r18-thin_1xb8-600_rooms-96x128',
    'CTAL, several scales': 'ctal-ms_r18-thin_1xb8-600_rooms-96x128',
    'DeMT': 'demt_r18-thin_1xb8-600_rooms-96x128',
    'MT-CP': 'mtcp_r18-thin_1xb8-600_rooms-96x128',
    'MT-CP on Mask2Former': 'mtcp_mask2former-tiny_1xb8-600_rooms-96x128',
    'ATRC': 'atrc_r18-thin_1xb8-600_rooms-96x128',
    'InvPT': 'invpt_vit-tiny_1xb8-600_rooms-96x128',
    'triplane regularizer on InvPT': 'invpt-triplane_vit-tiny_1xb8-600_rooms-96x128',
    'triplane regularizer on a multi-task baseline': 'triplane_r18-thin_1xb8-800_rooms-96x128',
    'DeMT, MT-CP and triplane combined': 'demt-mtcp-triplane_r18-thin_1xb8-600_rooms-96x128',
    'PAD-Net': 'pad-net_r18-thin_1xb8-600_rooms-96x128',
    'PAP-Net': 'pap-net_r18-thin_1xb8-600_rooms-96x128',
    'MTI-Net': 'mti-net_r18-thin_1xb8-600_rooms-96x128',
    'Cross-Stitch': 'cross-stitch_r18-thin_1xb8-600_rooms-96x128',
    'NDDR-CNN': 'nddr-cnn_r18-thin_1xb8-600_rooms-96x128',
    'MTAN': 'mtan_r18-thin_1xb8-600_rooms-96x128',
    'multi-task baseline': 'mtl_r18-thin_1xb8-600_rooms-96x128',
    'single-task baseline': 'stl_r18-thin_1xb8-600_rooms-96x128_depth',
}
#: What is tried to be left free, most first.
FREEDOM = (('batch', 'size'), ('batch',), ())
#: Lines of a page between which the table stands.
BEGIN, END = '<!-- parity: begin -->', '<!-- parity: end -->'


def measure(
    config: str, seed: int = 0, freedom: Sequence[tuple[str, ...]] = FREEDOM
) -> dict[str, Any]:
    """Export a method in both formats, and compare with PyTorch.

    Weights are random and disturbed, see :func:`~mmdense.deployment.parity.disturb`.

    Args:
        config (str): Path or name.
        seed (int): Of the weights.
        freedom (Sequence): What is tried to be left free, most first; the last must be ``()``.

    Returns:
        dict: ``config``; ``size_tried``, whether a free size was; ``dynamic``, what is free;
        ``refused``, what could not be left free, and why; per format ``relative`` (largest over
        shapes and tasks, for predictions before
        decoding) and ``nodes``; ``spread``; ``shapes``; or ``error``, why nothing was measured.
    """
    row: dict[str, Any] = dict(config=config, size_tried=any('size' in free for free in freedom))
    try:
        cfg = deployed(load_config(resolve_config(config)))
        torch.manual_seed(seed)
        model: Any = build_model(cfg, 'cpu')
        model.init_weights()
        disturb(model, seed)
        row |= _measure(model.eval(), input_size(cfg), freedom)
    except (ExportError, MissingDependencyError) as error:
        row['error'] = str(error)
    return row


def _measure(
    model: Any, shape: tuple[int, int], freedom: Sequence[tuple[str, ...]]
) -> dict[str, Any]:
    refused: dict[str, str] = {}
    for dynamic in freedom:
        settings = ExportSettings(shape, dynamic, 'logits')
        try:
            found = _both(model, settings)
        except ExportError as error:
            if not dynamic:
                raise
            refused['+'.join(dynamic)] = str(error)
            continue
        return dict(dynamic=list(dynamic), refused=refused, **found)
    raise AssertionError('the last of `freedom` leaves nothing free')


def _both(model: Any, settings: ExportSettings) -> dict[str, Any]:
    program = to_program(model, settings)
    shapes = shapes_to_check(settings.shape, settings.dynamic, size_rule(model))
    module = deploy(model, settings)
    found: dict[str, Any] = dict(shapes=[[batch, *size] for batch, size in shapes])
    with tempfile.TemporaryDirectory() as folder:
        for form, suffix in FORMATS.items():
            path = save(
                model, Path(folder) / f'model{suffix}', settings, form=form, program=program
            )
            rows = check_export(module, ExportedModel(path), shapes)
            found[form] = dict(relative=worst(rows), nodes=inspect_file(path)['graph']['nodes'])
            found['spread'] = min(row.spread for row in rows)
    return found


def measure_all(
    path: Path, names: list[str] | None = None, freedom: Sequence[tuple[str, ...]] = FREEDOM
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Measure methods one by one; those in the file already are passed over unless named.

    Args:
        path (Path): JSON, method to row; grows after every method.
        names (list[str] | None): Of :data:`METHODS`. None: all.
        freedom (Sequence): See :func:`measure`.
    """
    done: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    for name in names or [name for name in METHODS if name not in done]:
        row = measure(METHODS[name], freedom=freedom)
        # Read again: another process may have measured other methods meanwhile.
        done = json.loads(path.read_text()) if path.is_file() else {}
        done[name] = row
        atomic_write_json(path, {key: done[key] for key in METHODS if key in done})
        yield name, row


def passes(row: Mapping[str, Any], tolerance: float = TOLERANCE) -> bool:
    """Whether both formats agree with PyTorch, and the maps are no constants."""
    if 'error' in row:
        return False
    close = all((row[form]['relative'] or 0.0) <= tolerance for form in FORMATS)
    known = all(row[form]['relative'] is not None for form in FORMATS)
    return close and known and row['spread'] > 0


def markdown(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """The table of a page, and why something is not free or cannot be exported."""
    head = ['Method', 'Free', 'ONNX: rel. difference', 'nodes', 'torch.export: rel. difference']
    lines = [head, ['---'] * len(head)]
    notes = []
    for name, row in rows.items():
        if 'error' in row:
            lines.append([name, '-', 'not exported', '-', 'not exported'])
            notes.append(f'* {name}: {row["error"]}')
            continue
        lines.append(
            [
                name,
                _free(row),
                _number(row['onnx']['relative']),
                str(row['onnx']['nodes']),
                _number(row['torch']['relative']),
            ]
        )
        notes += [f'* {name}: {text}' for text in row['refused'].values()]
    table = '\n'.join(f'| {" | ".join(line)} |' for line in lines)
    return '\n\n'.join([table, *_notes(notes)])


def _free(row: Mapping[str, Any]) -> str:
    free = ', '.join(row['dynamic']) or 'nothing'
    return free if row.get('size_tried') else f'{free} (size not tried)'


def _number(value: float | None) -> str:
    return 'NaN' if value is None else f'{value:.1e}'


def _notes(notes: list[str]) -> list[str]:
    if not notes:
        return []
    return ['\n'.join(['What is not free, or not exported, and why:', '', *notes])]


def write_page(page: Path, rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Put the table between the marks of a page.

    Raises:
        ValueError: If the page lacks them.
    """
    text = page.read_text()
    if BEGIN not in text or END not in text:
        raise ValueError(f'{page} lacks the lines {BEGIN} and {END}; add them where it belongs.')
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    missing = ', '.join(name for name in METHODS if name not in rows)
    told = f'\n\nNot compared yet: {missing}.' if missing else ''
    page.write_text(f'{before}{BEGIN}\n\n{markdown(rows)}{told}\n\n{END}{after}')
