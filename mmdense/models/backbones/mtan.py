"""Multi-task attention network."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from mmdense.models.layers import (
    BATCH_NORM,
    ConstructorInitModule,
    bottleneck,
    conv_norm_relu,
    norm_layer,
)
from mmdense.models.necks.task_features import check_tasks
from mmdense.registry import MODELS
from mmdense.structures import DenseFeatures

from .resnet import ResNet
from .task_backbones import check_staged


def attention_gate(
    in_channels: int, hidden: int, channels: int, norm_cfg: Mapping[str, Any] = BATCH_NORM
) -> nn.Sequential:
    """Two 1x1 convolutions with norms, ReLU and sigmoid: a weight in (0, 1) per pixel and channel.

    Args:
        in_channels (int): Channels of the input ``(B, in_channels, H, W)``.
        hidden (int): Channels between the convolutions.
        channels (int): Channels of the output ``(B, channels, H, W)``.
        norm_cfg (Mapping): Norm layers.
    """
    return nn.Sequential(
        *conv_norm_relu(in_channels, hidden, 1, bias=True, norm_cfg=norm_cfg),
        nn.Conv2d(hidden, channels, 1),
        norm_layer(norm_cfg, channels),
        nn.Sigmoid(),
    )


@MODELS.register_module()
class MTANBackbone(ConstructorInitModule):
    """One shared ResNet, and for every task attention that selects from each of its stages.

    Liu et al., "End-to-End Multi-Task Learning with Attention" (CVPR 2019), in the form for
    ResNets of the multi-task survey (Vandenhende et al., TPAMI 2021): with ``b`` the output of a
    stage without its last block and ``p`` with it, a task's map of the stage is ``a = m * p``.
    Its gate ``m`` reads ``b`` and, from the second stage on, the task's map of the stage before,
    refined by a bottleneck that the tasks share and reduced where the network is.

    Differs from the paper, whose network is SegNet with attention in encoder and decoder.

    Args:
        tasks (Sequence[str]): Task keys; injected by the model.
        backbone (Mapping): Config of the network, a ``ResNet`` or ``DilatedResNet``.
        reduction (int): The gates' hidden width is that of the stage divided by this.
            Defaults to 4.
        norm_cfg (Mapping): Norm layers of gates and refinement. Defaults to batch norm with
            PyTorch's constants.
        init_cfg (dict | list[dict] | None): Initialisation config of mmengine.

    Attributes:
        channels (tuple[int, ...]): Channels of the maps of one task, fine to coarse.
        strides (tuple[int, ...]): Their strides.

    Shape:
        - input: ``(B, 3, H, W)``.
        - output: ``DenseFeatures``: ``per_task`` holds the attended maps of each task, ``shared``
          those of the network itself, at its ``out_indices``.

    Raises:
        ValueError: If the backbone is no ResNet or does not return its last stage.
    """

    takes_tasks = True
    network: ResNet

    def __init__(
        self,
        tasks: Sequence[str],
        backbone: Mapping[str, Any],
        *,
        reduction: int = 4,
        norm_cfg: Mapping[str, Any] = BATCH_NORM,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.tasks = check_tasks('MTANBackbone', tasks)
        network = MODELS.build(copy.deepcopy(dict(backbone)))
        check_staged('MTANBackbone', network)
        self.network = network
        self.channels: tuple[int, ...] = tuple(network.channels)
        self.strides: tuple[int, ...] = tuple(network.strides)
        widths = network.stage_channels
        if reduction < 1 or widths[0] % reduction or any(width % 4 for width in widths):
            raise ValueError(
                f'MTANBackbone: reduction={reduction} and 4, the expansion of the refinement, must '
                f'divide the channels of the stages, {widths}.'
            )
        self.attention = nn.ModuleDict()
        for task in self.tasks:
            gates = [
                attention_gate(width * (2 if i else 1), width // reduction, width, norm_cfg)
                for i, width in enumerate(widths)
            ]
            self.attention[task] = nn.ModuleList(gates)
        self.refine = nn.ModuleList(
            bottleneck(before, after // 4, norm_cfg) for before, after in pairwise(widths)
        )
        self.down = nn.ModuleList(_pooling(network, i) for i in range(1, len(widths)))

    def forward(self, x: Tensor) -> DenseFeatures:
        x = self.network.forward_stem(x)
        refined: dict[str, Tensor] = {}
        shared: list[Tensor] = []
        outs: dict[str, list[Tensor]] = {task: [] for task in self.tasks}
        for index in range(self.network.num_stages):
            *blocks, last = self.network.stage(index)
            for block in blocks:
                x = block(x)
            before, x = x, last(x)
            returned = index in self.network.out_indices
            if returned:
                shared.append(x)
            for task in self.tasks:
                source = torch.cat([before, refined[task]], 1) if index else before
                gates: Any = self.attention[task]
                attended = gates[index](source) * x
                if returned:
                    outs[task].append(attended)
                if index < len(self.refine):
                    refined[task] = self.down[index](self.refine[index](attended))
        return DenseFeatures(
            shared=tuple(shared), per_task={task: tuple(maps) for task, maps in outs.items()}
        )


def _pooling(network: ResNet, index: int) -> nn.Module:
    """Max pooling that reduces as much as a stage does, to the same odd sizes."""
    stride = network.stage_strides[index]
    return nn.MaxPool2d(stride, stride, ceil_mode=True) if stride > 1 else nn.Identity()
