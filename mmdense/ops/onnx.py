"""The deformable convolution as one node of an ONNX graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from .operands import Operands
from .sampling import Window, sizes

# ONNX has DeformConv since opset 19, GridSample since 16.
FIRST_OPSET = 19
_wanted = False


@contextmanager
def onnx_deform_conv(opset_version: int) -> Iterator[None]:
    """Export deformable convolutions as ``DeformConv`` nodes where the opset has them.

    Without it, and below opset 19, they are exported in the form of ``GridSample`` (opset 16
    and later), which more runtimes know. Works with both exporters of ``torch.onnx.export``, and
    with ``torch.export`` for a program that the newer one translates.

    Args:
        opset_version (int): The one that is given to ``torch.onnx.export``.

    Example::

        with onnx_deform_conv(opset_version=20):
            torch.onnx.export(model, (x,), 'model.onnx', opset_version=20)
    """
    global _wanted  # read while tracing, where a context variable would break the graph
    before, _wanted = _wanted, opset_version >= FIRST_OPSET
    try:
        yield
    finally:
        _wanted = before


def onnx_node_wanted() -> bool:
    """Whether an export to ONNX is under way that asks for ``DeformConv`` nodes."""
    return _wanted and (torch.onnx.is_in_onnx_export() or exporting())


def exporting() -> bool:
    """Whether ``torch.export`` is tracing; PyTorch can tell since 2.7."""
    known: Callable[[], bool] | None = getattr(torch.compiler, 'is_exporting', None)
    return known() if known is not None else False


def deform_conv_node(inputs: Operands, window: Window, groups: int) -> Tensor:
    """``DeformConv`` in the graph that is being exported; its value is not computed."""
    x, offset, weight, bias, mask = inputs
    attributes: dict[str, Any] = {
        'kernel_shape': list(window.kernel),
        'strides': list(window.stride),
        'pads': list(window.padding * 2),
        'dilations': list(window.dilation),
        'group': groups,
        'offset_group': sizes(offset)[1] // (2 * window.cells),
    }
    size = (sizes(x)[0], sizes(weight)[0], *sizes(offset)[2:])
    # Offsets may be finer than the map; ONNX has one type for both.
    given = [x, weight, offset.to(x.dtype), bias, mask]
    while given[-1] is None:
        given.pop()
    if torch.jit.is_tracing():
        return _TracedNode.apply(attributes, size, *given)
    return torch.onnx.ops.symbolic(
        'DeformConv', given, attributes, dtype=x.dtype, shape=size, version=FIRST_OPSET
    )


class _TracedNode(torch.autograd.Function):
    """The node for the exporter that is built on TorchScript."""

    @staticmethod
    def forward(
        ctx: Any,
        attributes: dict[str, Any],
        size: tuple[int, ...],
        x: Tensor,
        *others: Tensor | None,
    ) -> Tensor:
        return x.new_zeros(size)

    @staticmethod
    def symbolic(g: Any, attributes: dict[str, Any], size: tuple[int, ...], *given: Any) -> Any:
        typed = {f'{name}_i': value for name, value in attributes.items()}
        del size  # the node's own rule says it
        return g.op('DeformConv', *given, **typed)
