"""What is in an exported network or a published checkpoint."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from terminaltables import AsciiTable

from mmdense.utils.lazy import require

from .metadata import INSTALL, read_record

_MANY = 12


def inspect_file(path: str | Path) -> dict[str, Any]:
    """Everything that a file says, and what can be counted in it.

    Args:
        path (str | Path): ``.onnx``, ``.pt2``, ``.pth`` or ``.safetensors``.

    Returns:
        dict: ``file``, ``bytes``, ``sha256``, ``record`` (see
        :func:`~mmdense.deployment.read_record`), and for a network ``graph``: ``format``,
        ``nodes``, ``operators`` (name to count), ``inputs`` and ``outputs`` (name to type and
        shape), for ONNX ``opset``.

    Raises:
        ConfigError: See :func:`~mmdense.deployment.read_record`.
    """
    path = Path(path)
    record = read_record(path)
    found: dict[str, Any] = dict(
        file=str(path),
        bytes=path.stat().st_size,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        record=record,
    )
    if path.suffix == '.onnx':
        found['graph'] = _onnx_graph(path)
    elif path.suffix == '.pt2':
        found['graph'] = _program_graph(path)
    return found


def node_list(proto: Any) -> list[tuple[str, tuple[tuple[int, ...] | None, ...]]]:
    """Operators of an ONNX graph in order, with the shapes of the weights that each takes.

    Two exports of one network have equal lists whatever their weights and names are.
    """
    shapes = {item.name: tuple(item.dims) for item in proto.graph.initializer}
    return [
        (node.op_type, tuple(shapes.get(name) for name in node.input)) for node in proto.graph.node
    ]


def _onnx_graph(path: Path) -> dict[str, Any]:
    onnx = require('onnx', f'inspecting {path}', INSTALL)
    proto = onnx.load(str(path))
    weights = {item.name for item in proto.graph.initializer}

    def typed(values: Any) -> dict[str, str]:
        types = {value.name: value.type.tensor_type for value in values}
        names = onnx.TensorProto.DataType.Name
        return {
            name: f'{names(kind.elem_type).lower()} {_shape(kind.shape.dim)}'
            for name, kind in types.items()
            if name not in weights
        }

    opset = max(entry.version for entry in proto.opset_import if not entry.domain)
    return dict(
        format=f'ONNX, opset {opset}',
        nodes=len(proto.graph.node),
        operators=dict(Counter(node.op_type for node in proto.graph.node).most_common()),
        inputs=typed(proto.graph.input),
        outputs=typed(proto.graph.output),
    )


def _shape(dims: Any) -> str:
    sides = [str(dim.dim_value) if dim.HasField('dim_value') else dim.dim_param for dim in dims]
    return f'({", ".join(sides)})'


def _program_graph(path: Path) -> dict[str, Any]:
    program = torch.export.load(str(path))
    calls = [node for node in program.graph.nodes if node.op == 'call_function']
    values = {node.name: node.meta.get('val') for node in program.graph.nodes}

    def typed(names: Any) -> dict[str, str]:
        return {
            name: f'{str(values[name].dtype).removeprefix("torch.")} {tuple(values[name].shape)}'
            for name in names
        }

    signature = program.graph_signature
    return dict(
        format='torch.export',
        nodes=len(calls),
        operators=dict(Counter(str(node.target) for node in calls).most_common()),
        inputs=typed(signature.user_inputs),
        outputs=typed(signature.user_outputs),
    )


def summary(path: str | Path) -> str:
    """:func:`inspect_file` as people read it."""
    found = inspect_file(path)
    record, graph = found['record'], found.get('graph')
    rows = [['file', found['file']], ['size', f'{found["bytes"] / 2**20:.2f} MiB']]
    rows += [['sha256', found['sha256']]]
    for key in ('config', 'checkpoint', 'version', 'licence', 'weights_sha256'):
        if record.get(key) is not None:
            rows.append([key, str(record[key])])
    if graph is not None:
        rows += [['format', graph['format']], ['nodes', str(graph['nodes'])]]
        common = list(graph['operators'].items())[:_MANY]
        rows.append(['operators', _wrapped([f'{name} {count}' for name, count in common])])
        rows += [[f'input {name}', text] for name, text in graph['inputs'].items()]
        rows += [[f'output {name}', text] for name, text in graph['outputs'].items()]
    for key, task in (record.get('tasks') or {}).items():
        told = f'{task["kind"]}, {task["unit"] or "no unit"}: {task["convention"]}'
        rows.append([f'task {key}', told])
    for name, metric in (record.get('metrics') or {}).items():
        unit = '%' if metric.get('percent') else metric.get('unit') or ''
        rows.append([name, f'{metric["value"]:.4g} {unit}  {metric.get("protocol", "")}'.rstrip()])
    grid = AsciiTable(rows)
    grid.inner_heading_row_border = False
    return grid.table


def _wrapped(words: list[str], many: int = 4) -> str:
    """A few words per line."""
    lines = [', '.join(words[start : start + many]) for start in range(0, len(words), many)]
    return '\n'.join(lines)
