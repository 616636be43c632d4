"""Coherence fusion of MT-CP: what the other tasks see decides which pixels a task averages."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdense.models.layers import CBAM, at_least_float32, checkpointed
from mmdense.models.losses.functional import full_precision
from mmdense.registry import MODELS
from mmdense.structures import DenseFeatures

from .functional import check_attention_impl, coherence_attention
from .task_features import check_tasks, task_maps

#: Divisor of the cosine is at least this.
_EPS = 1e-8


def cosine_distance(main: Tensor, auxiliary: Tensor) -> Tensor:
    """Mean of ``1 - cos`` between main channels and each group of auxiliary channels.

    Args:
        main (Tensor): ``(B, C, L)``.
        auxiliary (Tensor): ``(B, G * C, L)``.

    Returns:
        Tensor: Scalar, the mean over pictures, groups and pixels; float32 or wider.
    """
    with full_precision(main):
        x = at_least_float32(main)
        y = at_least_float32(auxiliary).unflatten(1, (-1, main.shape[1]))
        # No map of the size of `y` is made here: its products are summed at once.
        dot = torch.einsum('bcl,bgcl->bgl', x, y)
        lengths = x.norm(dim=1)[:, None] * y.norm(dim=2)
        return 1 - (dot / lengths.clamp(min=_EPS)).mean()


class TaskCoherence(nn.Module):
    """Coherence fusion of one task.

    Calling it embeds the maps; ``out`` is for what the attention makes of them.

    Args:
        channels (int): C.
        num_auxiliaries (int): Other tasks, T - 1.
        main_relu (bool): Whether a ReLU follows the norm of the main branch.

    Attributes:
        width (int): A = (T - 1) C, channels of the auxiliary features.
    """

    def __init__(self, channels: int, num_auxiliaries: int, main_relu: bool = True) -> None:
        super().__init__()
        self.width = num_auxiliaries * channels
        self.main = _gated_norm(channels, main_relu)
        self.gates = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(num_auxiliaries))
        self.mix = nn.Conv2d(self.width, self.width, 1)
        self.theta = _gated_norm(self.width, relu=True)
        self.phi = _gated_norm(self.width, relu=True)
        self.out = _gated_norm(channels, relu=False)

    def forward(self, main: Tensor, *auxiliaries: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Main features ``(B, C, h, w)``, and the two auxiliary ones ``(B, A, h, w)``."""
        gated = [gate(x).sigmoid() * x for gate, x in zip(self.gates, auxiliaries)]
        mixed = self.mix(torch.cat(gated, dim=1)).relu()
        return self.main(main), self.theta(mixed), self.phi(mixed)


def _gated_norm(channels: int, relu: bool) -> nn.Sequential:
    layers = [CBAM(channels), nn.BatchNorm2d(channels)]
    return nn.Sequential(*layers, nn.ReLU(inplace=True)) if relu else nn.Sequential(*layers)


@MODELS.register_module()
class CoherenceFusion(nn.Module):
    """Coherence fusion module of every task.

    Of "Optimizing Dense Visual Predictions Through Multi-Task Coherence and Prioritization"
    (MT-CP, WACV 2025). For a task with map X: main features ``g = ReLU(BN(CBAM(X)))``; the maps
    of the other tasks, each scaled by a sigmoid gate of its own, are concatenated and mixed to
    A = (T - 1) C channels; two branches ``ReLU(BN(CBAM(.)))`` of them are ``theta`` and ``phi``.
    Every pixel then averages ``g`` with the weights ``softmax(theta^T phi)``, and ``BN(CBAM(.))``
    of that goes on. There is no residual.

    Where the paper is silent ("merged via matrix multiplication", the two branches) the released
    code is followed. The paper's cosine distance has neither weight nor exact operands there and
    is not in the released code: here it is taken between ``g`` and each group of C channels of
    ``theta``, averaged, and written to ``feats.losses['loss_cos']``, which no balancer weighs.

    The scores are not scaled: with fresh weights the softmax is nearly one-hot.

    Args:
        channels (int): C.
        tasks (Sequence[str]): Task names, two or more; injected by the model.
        main_relu (bool): ReLU at the end of the main branch: the paper. The released code has
            none.
        loss_cos (float): Weight of the cosine distance; 0 leaves it out, as the released code.
        attention (str): ``'auto'``, ``'fused'``, ``'chunked'`` or ``'direct'``; see
            :func:`~mmdense.models.necks.functional.coherence_attention`.
        attn_scale (float | str): Factor on the scores. 1 is faithful; ``'rsqrt'`` is A^-0.5.
        kv_stride (int): Side of the cells in which ``phi`` and ``g`` are averaged before they
            are attended to. 1 is faithful; 2 is four times as cheap.
        with_cp (bool): Recompute all but the attention in the backward pass.

    Shape:
        - ``feats.per_task[task]``: a map ``(B, C, h, w)``, or a tuple whose first map it is.
        - out: the same, with the first map exchanged.
        - ``feats.losses['loss_cos']``: scalar, where ``feats.supervised``.

    Raises:
        ValueError: If there are fewer than two tasks or an option is unknown or out of range.
        ShapeError: If a task has no map of C channels, or maps differ in size.
    """

    takes_features = True
    takes_tasks = True

    def __init__(
        self,
        channels: int,
        tasks: Sequence[str],
        main_relu: bool = True,
        loss_cos: float = 0.01,
        attention: str = 'auto',
        attn_scale: float | str = 1.0,
        kv_stride: int = 1,
        with_cp: bool = False,
    ) -> None:
        super().__init__()
        self.tasks = check_tasks('CoherenceFusion', tasks)
        if len(self.tasks) < 2:
            raise ValueError(
                f'CoherenceFusion.tasks is {list(self.tasks)}; coherence needs two tasks or more. '
                'Leave this neck out (MTCPNeck: with_cfm=False) in a model of one task.'
            )
        if kv_stride < 1 or loss_cos < 0:
            raise ValueError(
                f'CoherenceFusion: kv_stride={kv_stride}, loss_cos={loss_cos}; need a stride of at '
                'least 1 and a weight of at least 0.'
            )
        if isinstance(attn_scale, str) and attn_scale != 'rsqrt':
            raise ValueError(
                f"CoherenceFusion.attn_scale is {attn_scale!r}; give a number or 'rsqrt'."
            )
        self.channels = channels
        self.attention = check_attention_impl('CoherenceFusion', attention)
        self.loss_cos, self.kv_stride, self.with_cp = loss_cos, kv_stride, with_cp
        width = (len(self.tasks) - 1) * channels
        self.scale = width**-0.5 if isinstance(attn_scale, str) else float(attn_scale)
        self.fusions = nn.ModuleDict(
            {task: TaskCoherence(channels, len(self.tasks) - 1, main_relu) for task in self.tasks}
        )

    def forward(self, feats: DenseFeatures) -> DenseFeatures:
        maps = task_maps('CoherenceFusion', feats, self.tasks, self.channels)
        own, distances = dict(feats.per_task), []
        for index, (task, fusion) in enumerate(self.fusions.items()):
            others = maps[:index] + maps[index + 1 :]
            fused, distance = self._fuse(fusion, maps[index], others, feats.supervised)
            own[task] = (fused, *feats.maps_for(task)[1:])
            if distance is not None:
                distances.append(distance)
        feats = feats.replace(per_task=own)
        if not distances:
            return feats
        loss = self.loss_cos * torch.stack(distances).mean()
        return feats.replace(losses={**feats.losses, 'loss_cos': loss})

    def _fuse(
        self, fusion: nn.Module, main: Tensor, others: list[Tensor], supervised: bool
    ) -> tuple[Tensor, Tensor | None]:
        again = self.with_cp and torch.is_grad_enabled()
        g, theta, phi = checkpointed(fusion, main, *others) if again else fusion(main, *others)
        distance = None
        if supervised and self.loss_cos:
            distance = cosine_distance(g.flatten(2), theta.flatten(2))
        size = (g.shape[-2], g.shape[-1])
        if self.kv_stride > 1:
            g, phi = (_average_cells(x, self.kv_stride) for x in (g, phi))
        mixed = coherence_attention(
            theta.flatten(2), phi.flatten(2), g.flatten(2), self.scale, self.attention
        )
        mixed = mixed.unflatten(2, size).to(g.dtype)
        out = fusion.get_submodule('out')
        return (checkpointed(out, mixed) if again else out(mixed)), distance


def _average_cells(x: Tensor, side: int) -> Tensor:
    """Means over cells of ``side`` x ``side`` pixels, smaller at the right and lower border."""
    return F.avg_pool2d(x, side, ceil_mode=True, count_include_pad=False)
