"""Deformable convolution: one function, compiled operators where they are, torch elsewhere."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from . import backends
from .onnx import deform_conv_node, onnx_node_wanted
from .operands import Operands, Size, check_kinds, check_ranks, check_shapes, pair
from .sampling import Window, bilinear_sample, cell_positions, position_dtype, sizes

# mmcv's operator takes so many images at once, and their number has to divide the batch.
MMCV_IMAGES = 32


def deform_conv2d(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
    mask: Tensor | None = None,
    backend: str | None = None,
) -> Tensor:
    """Convolution whose kernel cells are displaced, v1 and modulated (v2).

    Dai et al., "Deformable Convolutional Networks" (ICCV 2017), Eq. 2; with ``mask`` Zhu et
    al., "Deformable ConvNets v2" (CVPR 2019), Eq. 1. Cell k of the kernel at output (i, j)
    reads row ``i * stride - padding + k_row * dilation + dy``, bilinearly, with zeros outside
    the map. One displacement per channel is G = C offset groups.

    Backends: ``'mmcv'`` (CUDA, CPU) and ``'torchvision'`` call their compiled operators;
    ``'torch'`` runs on any device, compiles and exports. All agree forward and backward. Left
    to itself a CUDA tensor takes the first that is there, in that order, and any other the
    torch form, which is faster than mmcv's operator on the CPU. Inside ``torch.compile`` and
    ``torch.export`` only the argument can name another than the torch form.

    Precision: positions are computed in at least float32 whatever ``x`` is. Keep the offsets
    themselves in float32 under autocast: bfloat16 has 8 bits for them. The compiled operators
    compute in float32 for half precision maps; the torch form samples in float64 (in float32
    inside a graph) and contracts in the dtype of the map, or of autocast.

    Args:
        x (Tensor): Map.
        offset (Tensor): Displacements in pixels, (dy, dx) per offset group and kernel cell.
        weight (Tensor): Kernel.
        bias (Tensor | None): Added to every output pixel. Defaults to None.
        stride (int | Sequence[int]): Pixels between outputs, one number or (rows, columns).
            Defaults to 1.
        padding (int | Sequence[int]): Border in pixels. Defaults to 0.
        dilation (int | Sequence[int]): Pixels between kernel cells. Defaults to 1.
        groups (int): Groups of channels in the contraction. Defaults to 1.
        mask (Tensor | None): Factor on every sample; None leaves them as they are (v1).
            Defaults to None.
        backend (str | None): ``'mmcv'``, ``'torchvision'`` or ``'torch'``. None asks the
            environment variable ``MMDENSE_DEFORM_BACKEND``, and without it chooses.
            Defaults to None.

    Shape:
        - x: ``(B, C, H, W)``.
        - offset: ``(B, 2 * G * kh * kw, Ho, Wo)``; G divides C.
        - weight: ``(D, C / groups, kh, kw)``.
        - bias: ``(D,)``.
        - mask: ``(B, G * kh * kw, Ho, Wo)``.
        - output: ``(B, D, Ho, Wo)``, of the dtype of ``x``, or of autocast.

    Raises:
        ShapeError: If shapes do not fit each other.
        ValueError: If a dtype, device, number or backend name is wrong.
        MissingDependencyError: If the backend asked for is not there; the text names the
            command that installs it.

    Example:
        >>> x, weight = torch.rand(1, 4, 5, 6), torch.rand(2, 4, 1, 1)
        >>> offset = torch.zeros(1, 8, 5, 6)  # a displacement per channel
        >>> out = deform_conv2d(x, offset, weight, backend='torch')
        >>> torch.allclose(out, F.conv2d(x, weight), atol=1e-5)
        True
    """
    check_ranks(x, offset, weight)
    window = Window(
        (sizes(weight)[2], sizes(weight)[3]),
        pair(stride, 'stride', 1),
        pair(padding, 'padding', 0),
        pair(dilation, 'dilation', 1),
    )
    inputs = Operands(x, offset, weight, bias, mask)
    check_shapes(inputs, window, groups)
    autocast = x.device.type != 'meta' and torch.is_autocast_enabled(x.device.type)
    check_kinds(inputs, autocast)
    name = _backend(x, backend)
    if name == 'torch':
        form = deform_conv_node if onnx_node_wanted() else _torch_form
        return form(inputs, window, groups)
    out_dtype = torch.get_autocast_dtype(x.device.type) if autocast else x.dtype
    run = _mmcv if name == 'mmcv' else _torchvision
    # Compiled operators know no bfloat16 and no mixture of dtypes.
    dtype = position_dtype(x, offset)
    cast = Operands(
        *(t.to(dtype).contiguous() for t in inputs[:3]),
        *(None if t is None else t.to(dtype).contiguous() for t in inputs[3:]),
    )
    with torch.autocast(x.device.type, enabled=False):
        return run(cast, window, groups, backends.load(name, x.device.type)).to(out_dtype)


def _backend(x: Tensor, asked: str | None) -> str:
    in_graph = torch.compiler.is_compiling() or torch.jit.is_tracing() or x.device.type == 'meta'
    if in_graph and asked in (None, 'torch'):
        return 'torch'  # nothing to look up, and no log line inside a graph
    return backends.choose(asked, x.device.type)


def _torch_form(inputs: Operands, window: Window, groups: int) -> Tensor:
    """Sample all cells of all groups at once, then contract them by a 1x1 convolution.

    With one cell and a group per channel this is C single-channel samplings and a 1x1
    convolution, without any other pass over the samples.
    """
    x, offset, weight, bias, mask = inputs
    samples = bilinear_sample(x, offset, window)
    if mask is not None:
        offset_groups = sizes(mask)[1] // window.cells
        factor = mask.unflatten(1, (offset_groups, 1, window.cells))
        samples = samples.unflatten(1, (offset_groups, -1)) * factor
    columns = samples.flatten(1, -3)
    return F.conv2d(columns, weight.reshape(weight.shape[0], -1, 1, 1), bias, groups=groups)


def _mmcv(inputs: Operands, window: Window, groups: int, ops: Any) -> Tensor:
    x, offset, weight, bias, mask = inputs
    offset_groups = offset.shape[1] // (2 * window.cells)
    where = (window.stride, window.padding, window.dilation, groups, offset_groups)
    if not len(x):
        return _torch_form(inputs, window, groups)  # it divides by the number of images
    if mask is None and (x.shape[2] < window.kernel[0] or x.shape[3] < window.kernel[1]):
        # The plain operator refuses such maps whatever the padding, the modulated one does not.
        mask = offset.new_ones(len(x), offset.shape[1] // 2, *offset.shape[2:])
    if mask is not None:
        return ops.modulated_deform_conv2d(x, offset, mask, weight, bias, *where)
    images = max(n for n in range(1, MMCV_IMAGES + 1) if len(x) % n == 0)
    out = ops.deform_conv2d(x, offset, weight, *where, False, images)
    return out if bias is None else out + bias[:, None, None]


def _torchvision(inputs: Operands, window: Window, groups: int, ops: Any) -> Tensor:
    del groups  # it reads them off the shape of the weight
    x, offset, weight, bias, mask = inputs
    if offset.requires_grad:
        offset = _still_before_the_map(offset, window)
    where = (window.stride, window.padding, window.dilation)
    return ops.deform_conv2d(x, offset, weight, bias, *where, mask)


def _still_before_the_map(offset: Tensor, window: Window) -> Tensor:
    """No gradient for offsets that lead to -1: torchvision gives one there, mmcv none."""
    rows, columns = cell_positions(window, offset.shape[2:], offset)
    moves = offset.unflatten(1, (-1, window.cells, 2))
    start = torch.stack(torch.broadcast_tensors(rows, columns), 1)
    return torch.where(moves + start > -1, moves, moves.detach()).reshape(offset.shape)
