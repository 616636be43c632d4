"""Parameters and multiply-accumulate operations, by part."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from mmdense.ops.backends import VARIABLE
from mmdense.ops.local_attention import local_attention_flops

from .model_parts import build_model, parts_of


@dataclass(frozen=True)
class Complexity:
    """One row: a part, its parameters, and its multiply-accumulate operations (MACs)."""

    part: str
    parameters: int
    macs: int


def _attention_flops(
    query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: Any, **__: Any
) -> int:
    """Operations of fused attention: scores, and their product with the values."""
    batch, heads, length, width = query
    return 2 * batch * heads * length * key[-2] * (width + value[-1])


# The counter of PyTorch knows the fused kernels of CUDA only.
_FUSED: dict[Any, Callable[..., int]] = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops,
    torch.ops.mmdense.local_attention: local_attention_flops,
}


@contextmanager
def _countable_operators() -> Iterator[None]:
    """Deformable convolution in its torch form: what is compiled the counter cannot see into."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = 'torch'
    try:
        yield
    finally:
        del os.environ[VARIABLE]
        if before is not None:
            os.environ[VARIABLE] = before


@_countable_operators()
def measure_complexity(cfg: Config, shape: tuple[int, int]) -> list[Complexity]:
    """Count one picture's forward pass.

    Convolutions (of deformable ones, that of the samples), matrix products and attention
    count, as everywhere; normalisation, activations, resizing and deformable sampling do not.
    Tensors are fake, so that size costs neither time nor memory; a model with a part that
    needs real numbers is run on the CPU instead.

    Args:
        cfg (Config): Of any model; only one with ``backbone``, ``neck`` and ``heads`` is
            split into parts.
        shape (tuple[int, int]): Height and width of the input.

    Returns:
        list[Complexity]: Parts in the order of the forward pass, then ``'total'``.
    """
    try:
        model = build_model(cfg, 'meta')
        with FakeTensorMode(allow_non_fake_inputs=True):
            # Fake tensors say they are on the CPU, which autocast and kernels can handle.
            return _count(model.to_empty(device='cpu'), shape)
    except (NotImplementedError, RuntimeError, TypeError):
        return _count(build_model(cfg, 'cpu'), shape)


def _count(model: nn.Module, shape: tuple[int, int]) -> list[Complexity]:
    model = model.eval().requires_grad_(False)
    inputs = torch.zeros(1, 3, *shape)
    rows = []
    with torch.no_grad():
        for part in parts_of(model, inputs):
            with FlopCounterMode(display=False, custom_mapping=_FUSED) as counter:
                part.forward()
            macs = counter.get_total_flops() // 2
            rows.append(Complexity(part.name, _parameters(part.module), macs))
        with FlopCounterMode(display=False, custom_mapping=_FUSED) as counter:
            model(inputs, mode='tensor')
    # Not the sum of the parts: they may share weights, and some parts only train.
    total = counter.get_total_flops() // 2
    return [*rows, Complexity('total', _parameters(model), total)]


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
