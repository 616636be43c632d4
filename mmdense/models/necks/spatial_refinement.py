"""Trace-back of MT-CP: refinement from coarse to fine by the features of the task's decoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdense.models.layers import CBAM, conv_norm_relu
from mmdense.registry import MODELS
from mmdense.structures import DenseFeatures

from .task_features import add_intermediate, check_levels, check_tasks


class RefinementStep(nn.Module):
    """Joins what comes from the coarser step with the decoder's map of one stage.

    Both pass a CBAM, the former is resized to the latter, and two 1x1 convolutions with norm
    and ReLU read them concatenated: one for the prediction, one for the next step.

    Args:
        previous (int): Channels of what comes in.
        stage (int): Channels of the decoder's map.
        channels (int): C, those for the prediction.
        last (bool): Whether there is no next step, and so no such branch.
        antialias (bool): Resize with a filter as wide as the step where the map gets smaller.

    Shape:
        - previous: ``(B, previous, h', w')``.
        - stage: ``(B, stage, h, w)``.
        - output: ``(B, C, h, w)``, and ``(B, stage, h, w)`` or None.
    """

    def __init__(
        self, previous: int, stage: int, channels: int, last: bool, antialias: bool
    ) -> None:
        super().__init__()
        self.antialias = antialias
        self.previous_gate, self.stage_gate = CBAM(previous), CBAM(stage)
        total = previous + stage
        self.pred = conv_norm_relu(total, channels, 1, bias=True)
        self.back = None if last else conv_norm_relu(total, stage, 1, bias=True)

    def forward(self, previous: Tensor, stage: Tensor) -> tuple[Tensor, Tensor | None]:
        a, b = self.previous_gate(previous), self.stage_gate(stage)
        size = (b.shape[-2], b.shape[-1])
        joined = torch.cat((_resize(a, size, self.antialias).to(b.dtype), b), dim=1)
        return self.pred(joined), None if self.back is None else self.back(joined)


class TraceBack(nn.Module):
    """The refinement steps of one task, and its intermediate predictions.

    Args:
        channels (int): C.
        stages (Sequence[int]): Channels of the decoder's maps, fine to coarse.
        out_channels (int): Channels of a prediction.
        num_convs (int): 1x1 convolutions ahead of the last of an intermediate prediction.
        predict_from_cfm (bool): Whether the map that comes in makes a prediction too.
        antialias (bool): As in :class:`RefinementStep`.
    """

    def __init__(
        self,
        channels: int,
        stages: Sequence[int],
        out_channels: int,
        num_convs: int,
        predict_from_cfm: bool,
        antialias: bool,
    ) -> None:
        super().__init__()
        coarse_to_fine = list(reversed(stages))
        previous = [channels, *coarse_to_fine[:-1]]
        final = len(coarse_to_fine) - 1
        self.steps = nn.ModuleList(
            RefinementStep(p, s, channels, index == final, antialias)
            for index, (p, s) in enumerate(zip(previous, coarse_to_fine))
        )
        # One prediction per step but the last, which the head of the task reads.
        self.predictors = nn.ModuleList(
            intermediate_predictor(channels, out_channels, num_convs) for _ in range(final)
        )
        self.first_predictor = (
            intermediate_predictor(channels, out_channels, num_convs) if predict_from_cfm else None
        )

    def forward(
        self, fused: Tensor, stages: Sequence[Tensor], supervised: bool
    ) -> tuple[Tensor, list[Tensor]]:
        logits: list[Tensor] = []
        if supervised and self.first_predictor is not None:
            logits.append(self.first_predictor(fused))
        features, back = fused, fused
        for index, (step, stage) in enumerate(zip(self.steps, reversed(stages))):
            features, back = step(back, stage)
            if supervised and index < len(self.predictors):
                logits.append(self.predictors[index](features))
        return features, logits


def intermediate_predictor(channels: int, out_channels: int, num_convs: int) -> nn.Sequential:
    """1x1 convolutions without activation between them, norm, ReLU, 1x1 to the logits."""
    linear = [nn.Conv2d(channels, channels, 1, bias=False) for _ in range(num_convs)]
    return nn.Sequential(
        *linear,
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, out_channels, 1),
    )


@MODELS.register_module()
class SpatialRefinement(nn.Module):
    """Spatial refinement modules of MT-CP in a chain per task, coarse to fine.

    The trace-back of MT-CP (WACV 2025). The first step shrinks the map that coherence fusion
    made to the coarsest stage of the task's decoder; each step joins what the one before passes
    back with the decoder's map of its stage. All steps but the last make a supervised
    prediction; the features of the last go to the head. The released code passes back through
    all three steps and never reads the last; here that branch does not exist.

    Args:
        channels (int): C.
        stage_channels (Sequence[int]): Channels of the decoder's maps, fine to coarse.
        task_channels (Mapping[str, int]): Task to its output channels; injected by the model.
        intermediate_convs (int | Mapping[str, int]): 1x1 convolutions ahead of the last of an
            intermediate prediction, by task. Defaults to 2; the released code has 1 for human
            parts and saliency. Tasks that are not named have 2.
        predict_from_cfm (bool): One more supervised prediction, of the map that comes in: the
            paper's figure has one. The released code has none.
        antialias (bool): Filter where the first step shrinks the map. Without (the released
            code) bilinear sampling reads 4 of 16 pixels.

    Shape:
        - ``feats.per_task[task]``: ``(B, C, h, w)``, then ``(B, stage_channels[i], h_i, w_i)``.
        - out: ``(B, C, h_0, w_0)``.
        - ``feats.intermediate[task]``: gains logits of one map per step but the last, where
          ``feats.supervised``.

    Raises:
        ValueError: If there is no task, or ``intermediate_convs`` names none of them or is
            below 1.
        ShapeError: If the maps of a task are not those of the config.
    """

    takes_features = True
    takes_task_channels = True

    def __init__(
        self,
        channels: int,
        stage_channels: Sequence[int],
        task_channels: Mapping[str, int],
        intermediate_convs: int | Mapping[str, int] = 2,
        predict_from_cfm: bool = False,
        antialias: bool = False,
    ) -> None:
        super().__init__()
        tasks = check_tasks('SpatialRefinement', list(task_channels))
        self.in_channels = (channels, *stage_channels)
        convs = _per_task(intermediate_convs, tasks)
        self.chains = nn.ModuleDict(
            {
                task: TraceBack(
                    channels,
                    stage_channels,
                    task_channels[task],
                    convs[task],
                    predict_from_cfm,
                    antialias,
                )
                for task in tasks
            }
        )

    def forward(self, feats: DenseFeatures) -> DenseFeatures:
        own, logits = dict(feats.per_task), {}
        for task, chain in self.chains.items():
            maps = feats.maps_for(task)
            check_levels('SpatialRefinement', maps, self.in_channels, f"those of task '{task}'")
            own[task], logits[task] = chain(maps[0], maps[1:], feats.supervised)
        feats = feats.replace(per_task=own)
        if not feats.supervised:
            return feats
        return feats.replace(intermediate=add_intermediate(feats, logits))


def _per_task(convs: int | Mapping[str, int], tasks: Sequence[str]) -> dict[str, int]:
    given = dict.fromkeys(tasks, convs) if isinstance(convs, int) else dict(convs)
    if set(given) - set(tasks) or any(number < 1 for number in given.values()):
        raise ValueError(
            f'SpatialRefinement.intermediate_convs is {convs}; need numbers of at least 1 for '
            f'tasks of the model, which are {list(tasks)}.'
        )
    return {task: given.get(task, 2) for task in tasks}


def _resize(x: Tensor, size: tuple[int, int], antialias: bool) -> Tensor:
    if tuple(x.shape[-2:]) == size:
        return x
    return F.interpolate(x, size=size, mode='bilinear', align_corners=False, antialias=antialias)
