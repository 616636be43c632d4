"""A network of its own for every task, alone or exchanging maps after its stages."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.model import ModuleDict
from torch import Tensor

from mmdense.models.layers import ConstructorInitModule
from mmdense.models.necks.task_features import check_tasks
from mmdense.registry import MODELS
from mmdense.structures import DenseFeatures

from .resnet import ResNet


@MODELS.register_module()
class TaskBackbones(ConstructorInitModule):
    """One backbone per task: the single-task models, trained side by side as one.

    Networks have equal architecture and weights of their own, in ``networks.<task>``. With
    heads that read only their own task's maps, the tasks never see each other.

    Args:
        tasks (Sequence[str]): Task keys; injected by the model.
        backbone (Mapping): Config of one network, any backbone that returns a tuple of maps.
            Its ``init_cfg`` is applied to every network.
        init_cfg (dict | list[dict] | None): Initialisation config of mmengine.

    Attributes:
        channels (tuple[int, ...]): Channels of the maps of one task, fine to coarse.
        strides (tuple[int, ...]): Their strides.

    Shape:
        - input: ``(B, 3, H, W)``.
        - output: ``DenseFeatures`` whose ``per_task`` holds a tuple of maps per task;
          ``shared`` is empty.

    Raises:
        ValueError: If a task is named twice or there is none.
    """

    takes_tasks = True

    def __init__(
        self,
        tasks: Sequence[str],
        backbone: Mapping[str, Any],
        *,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.tasks = check_tasks(type(self).__name__, tasks)
        # Each its own copy: some backbones change the config that they are given.
        configs = [copy.deepcopy(dict(backbone)) for _ in self.tasks]
        # mmengine's dict and not PyTorch's, through which `init_weights` would not pass.
        self.networks = ModuleDict({t: MODELS.build(cfg) for t, cfg in zip(self.tasks, configs)})
        first = self.networks[self.tasks[0]]
        self.channels: tuple[int, ...] = tuple(first.channels)
        self.strides: tuple[int, ...] = tuple(first.strides)

    def forward(self, x: Tensor) -> DenseFeatures:
        return DenseFeatures(per_task={t: tuple(self.networks[t](x)) for t in self.tasks})


class ExchangingBackbones(TaskBackbones):
    """Base of networks that exchange their maps after their stages; see :meth:`exchange`.

    Args:
        tasks (Sequence[str]): Task keys; injected by the model.
        backbone (Mapping): Config of one network, a ``ResNet`` or ``DilatedResNet``.
        init_cfg (dict | list[dict] | None): Initialisation config of mmengine.

    Attributes:
        stage_widths (dict[str, int]): ``'stem'``, ``'layer1'``, ... to their channels.

    Raises:
        ValueError: If the backbone is no ResNet, does not return its last stage, or returns
            features ahead of the activation.
    """

    networks: Mapping[str, ResNet]

    def __init__(
        self,
        tasks: Sequence[str],
        backbone: Mapping[str, Any],
        *,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(tasks, backbone, init_cfg=init_cfg)
        first = self.networks[self.tasks[0]]
        check_staged(type(self).__name__, first)
        self.stage_widths: dict[str, int] = dict(stem=first.stem_channels)
        self.stage_widths |= zip(first.res_layers, first.stage_channels)

    @abstractmethod
    def exchange(self, stage: str, maps: Sequence[Tensor]) -> Sequence[Tensor]:
        """The maps of all tasks behind a stage (``'stem'``, ``'layer1'``, ...), after exchange."""

    def forward(self, x: Tensor) -> DenseFeatures:
        networks = [self.networks[task] for task in self.tasks]
        first = networks[0]
        maps = self.exchange('stem', [network.forward_stem(x) for network in networks])
        outs: list[Sequence[Tensor]] = []
        for index, name in enumerate(first.res_layers):
            maps = self.exchange(name, [n.stage(index)(m) for n, m in zip(networks, maps)])
            if index in first.out_indices:
                outs.append(maps)
        return DenseFeatures(per_task=dict(zip(self.tasks, zip(*outs))))


def check_staged(name: str, network: Any) -> None:
    """Raise ``ValueError`` unless a network runs stage by stage, and all its stages are used."""
    if not isinstance(network, ResNet) or network.pre_activation_features:
        raise ValueError(
            f'{name}.backbone is a {type(network).__name__}'
            f'{" with pre_activation_features" if isinstance(network, ResNet) else ""}, which '
            "cannot be run stage by stage. Use type='ResNet' or 'DilatedResNet' without it."
        )
    last = network.num_stages - 1
    if last not in network.out_indices:
        raise ValueError(
            f'{name}.backbone.out_indices is {tuple(network.out_indices)}, which leaves stage '
            f'{last} without a gradient. Add {last}, or lower `num_stages`.'
        )
