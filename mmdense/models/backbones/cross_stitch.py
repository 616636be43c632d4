"""Cross-stitch networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from mmdense.models.layers import CrossStitchUnit
from mmdense.registry import MODELS

from .task_backbones import ExchangingBackbones


@MODELS.register_module()
class CrossStitchBackbone(ExchangingBackbones):
    """One ResNet per task, with a cross-stitch unit behind every stage.

    Misra et al., "Cross-stitch Networks for Multi-task Learning" (CVPR 2016). The networks
    start from trained single-task ones (``tools/model_converters/merge_single_task.py``), and
    the units learn at 100 times the rate: ``optim_wrapper=dict(paramwise_cfg=dict(
    custom_keys={'cross_stitch': dict(lr_mult=100)}))``.

    Differs from the paper, which has one scalar per pair of tasks and unit: here each channel
    has its own (see :class:`~mmdense.models.layers.CrossStitchUnit`).

    Args:
        tasks (Sequence[str]): Task keys; injected by the model.
        backbone (Mapping): Config of one network, a ``ResNet`` or ``DilatedResNet``.
        alpha (float): Initial weight of a task's own map. The survey takes 0.9 for two tasks,
            0.8 for five. Defaults to 0.9.
        beta (float | None): Initial weight of each other map. None: ``(1 - alpha) / (T - 1)``,
            which gives the survey's 0.1 and 0.05. Defaults to None.
        init_cfg (dict | list[dict] | None): Initialisation config of mmengine.

    Attributes:
        channels (tuple[int, ...]): Channels of the maps of one task, fine to coarse.
        strides (tuple[int, ...]): Their strides.

    Shape:
        - input: ``(B, 3, H, W)``.
        - output: ``DenseFeatures`` whose ``per_task`` holds the stitched maps of each task.

    Raises:
        ValueError: If the backbone is no ResNet or does not return its last stage.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        backbone: Mapping[str, Any],
        *,
        alpha: float = 0.9,
        beta: float | None = None,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(tasks, backbone, init_cfg=init_cfg)
        self.cross_stitch = nn.ModuleDict(
            {
                stage: CrossStitchUnit(len(self.tasks), width, alpha, beta)
                for stage, width in self.stage_widths.items()
                if stage != 'stem'
            }
        )

    def exchange(self, stage: str, maps: Sequence[Tensor]) -> Sequence[Tensor]:
        return self.cross_stitch[stage](maps) if stage in self.cross_stitch else maps
