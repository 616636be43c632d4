"""Distillation of PAD-Net: gated messages among the maps of the tasks."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from mmdense.registry import MODELS
from mmdense.structures import DenseFeatures

from .task_features import check_tasks, task_maps


class TaskDistillation(nn.Module):
    """Adds to the map of every task a gated message of every other task.

    ``out_t = F_t + sum_{u != t} A_tu(F_u) * sigmoid(G_tu(F_u))`` with 3x3 convolutions A and G
    without bias: a message is gated by its sender. All convolutions of one sender are one
    convolution; its output channels are the messages to the other tasks, in order, then their
    gates.

    Args:
        tasks (Sequence[str]): Task names.
        channels (int): C.

    Shape:
        - maps: one ``(B, C, h, w)`` per task.
        - output: the same.
    """

    def __init__(self, tasks: Sequence[str], channels: int) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        others = len(self.tasks) - 1
        # A single task sends nothing.
        self.senders = nn.ModuleDict(
            {
                task: nn.Conv2d(channels, 2 * others * channels, 3, padding=1, bias=False)
                for task in self.tasks
                if others
            }
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        out = list(maps)
        for source, (task, x) in enumerate(zip(self.tasks, maps)):
            if task not in self.senders:
                continue
            messages, gates = self.senders[task](x).chunk(2, dim=1)
            sent = (messages * gates.sigmoid()).chunk(len(maps) - 1, dim=1)
            targets = [t for t in range(len(maps)) if t != source]
            for target, message in zip(targets, sent):
                out[target] = out[target] + message
        return out


@MODELS.register_module()
class PADDistillation(nn.Module):
    """Multi-modal distillation with attention-gated messages.

    Module C of Xu et al., "PAD-Net: Multi-Tasks Guided Prediction-and-Distillation Network"
    (CVPR 2018), as in MTI-Net (ECCV 2020) and CTAL (WACV 2025): see
    :class:`TaskDistillation`. PyTorch's initial weights.

    Args:
        channels (int): C, in and out.
        tasks (Sequence[str]): Task names; injected by the model.
        in_index (int): Which map of a task to read.

    Shape:
        - in: map ``in_index`` of each task, ``(B, C, h, w)``.
        - ``feats.per_task`` out: ``(B, C, h, w)`` for every task.

    Raises:
        ValueError: If there is no task.
        ShapeError: If maps have not C channels, or differ in size.
    """

    takes_features = True
    takes_tasks = True

    def __init__(self, channels: int, tasks: Sequence[str], in_index: int = 0) -> None:
        super().__init__()
        self.tasks = check_tasks('PADDistillation', tasks)
        self.channels = channels
        self.in_index = in_index
        self.distillation = TaskDistillation(self.tasks, channels)

    def forward(self, feats: DenseFeatures) -> DenseFeatures:
        maps = task_maps('PADDistillation', feats, self.tasks, self.channels, self.in_index)
        own = dict(zip(self.tasks, self.distillation(maps)))
        return feats.replace(per_task={**feats.per_task, **own})


@MODELS.register_module()
class MultiScaleDistillation(nn.Module):
    """PAD-Net's distillation at every level of the tasks' maps, with weights of its own.

    Of Vandenhende et al., "MTI-Net: Multi-Scale Task Interaction Networks for Multi-Task
    Learning" (ECCV 2020). PyTorch's initial weights.

    Args:
        in_channels (Sequence[int]): Channels of the levels, fine to coarse.
        tasks (Sequence[str]): Task names; injected by the model.

    Attributes:
        channels (tuple[int, ...]): Those of ``in_channels``.

    Shape:
        - in: for every task maps ``(B, in_channels[i], h_i, w_i)``.
        - ``feats.per_task`` out: the same.

    Raises:
        ValueError: If there is no task.
        ShapeError: If a level is missing, has other channels, or differs in size among tasks.
    """

    takes_features = True
    takes_tasks = True

    def __init__(self, in_channels: Sequence[int], tasks: Sequence[str]) -> None:
        super().__init__()
        self.tasks = check_tasks('MultiScaleDistillation', tasks)
        self.channels = tuple(in_channels)
        self.levels = nn.ModuleList(TaskDistillation(self.tasks, c) for c in self.channels)

    def forward(self, feats: DenseFeatures) -> DenseFeatures:
        levels = [
            level(task_maps('MultiScaleDistillation', feats, self.tasks, channels, index))
            for index, (level, channels) in enumerate(zip(self.levels, self.channels))
        ]
        own = dict(zip(self.tasks, zip(*levels)))
        return feats.replace(per_task={**feats.per_task, **own})
