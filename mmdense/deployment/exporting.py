"""A model as a ``torch.export`` program or an ONNX graph, in one self-describing file."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmdense.engine.launch import BuildError
from mmdense.ops.backends import VARIABLE
from mmdense.ops.onnx import onnx_deform_conv
from mmdense.utils import suggest
from mmdense.utils.files import atomic_write_bytes
from mmdense.utils.lazy import require

from .foreign import traceable_parts
from .metadata import INPUT, INSTALL, KEY, describe_model
from .wrapper import DeployedModel, Size, require_fit, size_rule

#: Format to the usual suffix of its files.
FORMATS = {'onnx': '.onnx', 'torch': '.pt2'}
#: Parts of the input shape that can be left free.
DYNAMIC = ('batch', 'size')
# The first with GridSample in all its modes and DeformConv; known to onnxruntime since 1.17.
OPSET = 20


# What tracers and what they trace raise; packages that are missing are another matter.
_UNTRACEABLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
# Protocol buffers, and so an ONNX file with its weights inside, end at 2 GiB.
_LARGEST_GRAPH = 2**31 - 2**24


class ExportError(BuildError):
    """A model cannot be exported as asked; the text says why and what can be."""


@dataclass(frozen=True)
class ExportSettings:
    """What a graph is made for.

    Args:
        shape (tuple[int, int]): Height and width of the pictures; with a free size, those of
            the example that the graph is traced with.
        dynamic (tuple[str, ...]): What is left free: ``'batch'``, ``'size'``, both or nothing.
        output (str): See :class:`~mmdense.deployment.DeployedModel`.
        opset (int): ONNX operator set, 18 or later.
        deform_conv (bool): ONNX: deformable convolutions as ``DeformConv`` nodes (opset 19
            and later) rather than in the form of ``GridSample``.

    Raises:
        ValueError: If an entry is out of range.
    """

    shape: Size
    dynamic: tuple[str, ...] = ('batch',)
    output: str = 'maps'
    opset: int = OPSET
    deform_conv: bool = False

    def __post_init__(self) -> None:
        for name in self.dynamic:
            if name not in DYNAMIC:
                raise ValueError(f'ExportSettings.dynamic: {suggest(name, DYNAMIC)}')
        if min(self.shape) < 1:
            raise ValueError(f'ExportSettings.shape is {self.shape}; give height and width >= 1.')
        if self.opset < 18:
            raise ValueError(f'ExportSettings.opset is {self.opset}; the exporter knows 18 on.')

    @property
    def batch(self) -> int:
        """Pictures of the example: a free dimension must not be traced with 1."""
        return 2 if 'batch' in self.dynamic else 1


def deploy(model: Any, settings: ExportSettings) -> DeployedModel:
    """The module that is traced.

    Raises:
        ExportError: If the size is to be free, and the model pads all pictures to one size.
        ShapeError: If the size is free and the example does not follow the model's size rule.
    """
    free = 'size' in settings.dynamic
    fixed = model.data_preprocessor.size
    if free and fixed is not None:
        raise ExportError(
            f'export: the size cannot be free, model.data_preprocessor.size is {fixed}. Leave the '
            'size fixed, or set it to None with --cfg-options if the network takes other sizes.'
        )
    if free:
        require_fit(settings.shape, size_rule(model), 'export')
    return DeployedModel(model, settings.output, pad=not free)


def example_input(settings: ExportSettings, seed: int = 0) -> Tensor:
    """Random grey levels ``(B, 3, H, W)``."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(settings.batch, 3, *settings.shape, generator=generator) * 255


def dynamic_shapes(model: Any, settings: ExportSettings) -> dict[str, dict[int, Any]] | None:
    """What ``torch.export`` is told about the input."""
    free: dict[int, Any] = {}
    if 'batch' in settings.dynamic:
        free[0] = torch.export.Dim('batch', min=1)
    if 'size' in settings.dynamic:
        step, remainder = size_rule(model)
        for axis, name in ((2, 'rows'), (3, 'columns')):
            side = torch.export.Dim(name, min=1, max=4096) * step
            free[axis] = side + remainder if remainder else side
    return {INPUT: free} if free else None


def to_program(model: Any, settings: ExportSettings) -> torch.export.ExportedProgram:
    """Trace a model with ``torch.export``.

    Args:
        model (DensePredictor): On the CPU.
        settings (ExportSettings): Opset and ``deform_conv`` play no role.

    Raises:
        ExportError: If it cannot be traced, or needs what was to be left free.
    """
    module = deploy(model, settings)
    with _tracing('torch.export', settings), traceable_parts():
        return torch.export.export(
            module,
            (example_input(settings),),
            dynamic_shapes=dynamic_shapes(model, settings),
            strict=False,
        )


def to_onnx(
    model: Any, settings: ExportSettings, program: torch.export.ExportedProgram | None = None
) -> Any:
    """Translate a model into an ONNX graph.

    Args:
        model (DensePredictor): On the CPU.
        settings (ExportSettings): What the graph is made for.
        program (ExportedProgram | None): What :func:`to_program` gave for the same model and
            settings, which saves tracing again; passed over with ``deform_conv``.

    Returns:
        onnx.ModelProto: Inputs and outputs are named, metadata are stored.

    Raises:
        ExportError: If it cannot be traced or translated, or needs what was to be left free.
        MissingDependencyError: If ``onnx`` or ``onnxscript`` is missing.
    """
    for name in ('onnx', 'onnxscript'):
        require(name, 'export to ONNX', INSTALL)
    size = sum(value.numel() * value.element_size() for value in model.parameters())
    if size > _LARGEST_GRAPH:
        raise ExportError(
            f'export: the weights take {size / 2**30:.1f} GiB, and one ONNX file holds 2 GiB. '
            "Export with --format torch (form='torch')."
        )
    if program is None or settings.deform_conv:
        with onnx_deform_conv(settings.opset if settings.deform_conv else 0):
            program = to_program(model, settings)
    with _tracing('torch.onnx.export', settings):
        translated = torch.onnx.export(
            program,
            dynamo=True,
            verbose=False,
            input_names=[INPUT],
            output_names=list(model.tasks),
            opset_version=settings.opset,
        )
    proto = translated.model_proto  # type: ignore[union-attr]
    _name_dimensions(proto, settings)
    return proto


def _name_dimensions(proto: Any, settings: ExportSettings) -> None:
    """Free dimensions by name, in place of the symbols of the tracer."""
    # Sizes in between, in terms of those symbols; runtimes infer them again.
    del proto.graph.value_info[:]
    taken = proto.graph.input[0].type.tensor_type.shape.dim
    symbols = {taken[axis].dim_param: name for axis, name in ((0, 'batch'), (2, 'H'), (3, 'W'))}
    for value in (*proto.graph.input, *proto.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = symbols.get(dim.dim_param, dim.dim_param)


def save(
    model: Any,
    path: str | Path,
    settings: ExportSettings,
    form: str = 'onnx',
    origin: Mapping[str, Any] | None = None,
    program: torch.export.ExportedProgram | None = None,
) -> Path:
    """Export a model into one file that says what it is.

    Args:
        model (DensePredictor): On the CPU.
        path (str | Path): File; it appears whole or not at all.
        settings (ExportSettings): What the graph is made for.
        form (str): ``'onnx'`` or ``'torch'``.
        origin (Mapping | None): Further entries of the metadata, such as config, checkpoint
            and licence; plain values.
        program (ExportedProgram | None): See :func:`to_onnx`.

    Raises:
        ExportError: If the model cannot be exported as asked.
        ValueError: If ``form`` is unknown.
    """
    if form not in FORMATS:
        raise ValueError(f'export: format {form!r}. {suggest(form, FORMATS)}')
    path = Path(path)
    text = json.dumps(describe_model(model, settings, origin))
    if form == 'torch':
        buffer = io.BytesIO()
        program = program or to_program(model, settings)
        torch.export.save(program, buffer, extra_files={KEY: text})
        atomic_write_bytes(path, buffer.getvalue())
        return path
    proto = to_onnx(model, settings, program)
    entry = proto.metadata_props.add()
    entry.key, entry.value = KEY, text
    proto.producer_name = 'mmdense'
    require('onnx', 'export to ONNX', INSTALL).checker.check_model(proto)
    atomic_write_bytes(path, proto.SerializeToString())
    return path


@contextlib.contextmanager
def _tracing(what: str, settings: ExportSettings) -> Iterator[None]:
    """Quiet, without gradients, deformable convolutions in their portable form."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = 'torch'
    loggers = [logging.getLogger(name) for name in ('torch.onnx', 'torch.export', 'onnxscript')]
    levels = [logger.level for logger in loggers]
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter('ignore')
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
    except _UNTRACEABLE as error:
        free = ' and '.join(settings.dynamic) or 'nothing'
        raise ExportError(
            f'{what} cannot trace the model for {settings.shape[0]}x{settings.shape[1]} with '
            f'{free} free: {_first_lines(error)} Fix the size, or try another --shape.'
        ) from error
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)
        del os.environ[VARIABLE]
        if before is not None:
            os.environ[VARIABLE] = before


def _first_lines(error: BaseException, many: int = 3) -> str:
    """Type and beginning of an error, that of its cause first."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f'{type(error).__name__}: {" ".join(lines[:many])[:400]}.'
