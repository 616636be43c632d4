"""Pattern-affinitive propagation of PAP-Net."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmdense.models.layers import ConstructorInitModule
from mmdense.registry import MODELS
from mmdense.structures import DenseFeatures

from .functional import pattern_diffusion
from .functional.pattern import check_options
from .task_features import check_tasks, task_maps


class TaskMixing(nn.Module):
    """Learned shares of the tasks in the affinity of each task; uniform at first.

    Parameter: ``logits`` ``(T, T)``, initialised to 1 / T; a softmax over each row gives the
    shares.

    Args:
        tasks (int): T.
    """

    def __init__(self, tasks: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.empty(tasks, tasks))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The same for all."""
        nn.init.constant_(self.logits, 1 / len(self.logits))

    def forward(self) -> Tensor:
        return self.logits.softmax(dim=1)


@MODELS.register_module()
class PatternAffinityPropagation(ConstructorInitModule):
    """Diffuses the map of each task along the affinities that all tasks find between pixels.

    Zhang et al., "Pattern-Affinitive Propagation across Depth, Surface Normal and Semantic
    Segmentation" (CVPR 2019), as the CTAL comparison builds it: per task a 1x1 convolution to
    ``channels`` gives X; affinities of all pairs of tokens, mixed over the tasks by learned
    shares; ``num_iters`` steps of ``Y <- beta P Y + (1 - beta) X``.

    Affinities are inner products of unit, non-negative vectors, and each row sums to 1, as in
    the paper. The authors of CTAL released another form, ``affinity='released'``: unit length over
    the positions in place of the channels, and columns divided by their sums, which can be near 0
    or negative, so that it may explode; sums are clamped to 1e-6 in size here. The N x N matrices
    are never built where the form allows it (``impl``); the result is the same.

    Children: ``reduce`` by task (absent without ``reduce``), ``mixing``.

    Args:
        tasks (Sequence[str]): Task names; injected by the model.
        in_channels (int): Channels of the maps of the tasks. Defaults to 256.
        channels (int): C, working width and output. Defaults to 128.
        affinity (str): ``'row_stochastic'`` or ``'released'``. Defaults to ``'row_stochastic'``.
        num_iters (int): Steps of the diffusion. Defaults to 1.
        beta (float): Share of what is diffused, in [0, 1]. Defaults to 0.05.
        similarity (str): ``'inner_product'``, or ``'exp'`` of the negative squared distance of
            unit vectors, which has no linear form. Defaults to ``'inner_product'``.
        impl (str): ``'explicit'``, ``'linear'``, or ``'auto'``: linear where there is such a
            form, else by blocks of rows. Defaults to ``'auto'``.
        reduce (bool): Whether the 1x1 convolutions are there; without them ``channels`` is
            ``in_channels``. Defaults to True.
        in_index (int): Which map of a task to read. Defaults to 0.
        init_cfg (dict | None): Initialisation config of mmengine.

    Shape:
        - in: map ``in_index`` of each task, ``(B, in_channels, H, W)``.
        - ``feats.per_task`` out: ``(B, C, H, W)`` for every task.

    Raises:
        ValueError: If an option is unknown or out of range.
        ShapeError: If maps have not ``in_channels`` channels, or differ in size.

    Example:
        >>> neck = PatternAffinityPropagation(['semseg', 'depth'], 8, 4)
        >>> maps = dict.fromkeys(['semseg', 'depth'], torch.ones(1, 8, 3, 5))
        >>> neck(DenseFeatures(per_task=maps)).per_task['depth'].shape
        torch.Size([1, 4, 3, 5])
    """

    takes_features = True
    takes_tasks = True

    def __init__(
        self,
        tasks: Sequence[str],
        in_channels: int = 256,
        channels: int = 128,
        affinity: str = 'row_stochastic',
        num_iters: int = 1,
        beta: float = 0.05,
        similarity: str = 'inner_product',
        impl: str = 'auto',
        reduce: bool = True,
        in_index: int = 0,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        check_options(affinity, similarity, impl)
        if num_iters < 1 or not 0 <= beta <= 1:
            raise ValueError(
                f'PatternAffinityPropagation: num_iters is {num_iters} and beta {beta}; expected '
                'at least 1 step and a share in [0, 1].'
            )
        if not reduce and channels != in_channels:
            raise ValueError(
                f'PatternAffinityPropagation: reduce=False keeps the {in_channels} channels that '
                f'come in; got channels={channels}. Set both to the same number.'
            )
        if affinity == 'released':
            warnings.warn(
                "PatternAffinityPropagation: affinity='released' divides by sums of affinities "
                'that may be near 0 or negative (clamped to 1e-6 in size); training may diverge. '
                "Take 'row_stochastic' for anything but a comparison with the released code.",
                stacklevel=2,
            )
        self.tasks = check_tasks('PatternAffinityPropagation', tasks)
        self.in_channels, self.channels, self.in_index = in_channels, channels, in_index
        self.options: dict[str, Any] = dict(affinity=affinity, similarity=similarity, impl=impl)
        self.num_iters, self.beta = num_iters, beta
        self.reduce = nn.ModuleDict()
        for task in self.tasks:
            self.reduce[task] = nn.Conv2d(in_channels, channels, 1) if reduce else nn.Identity()
        self.mixing = TaskMixing(len(self.tasks))

    def forward(self, feats: DenseFeatures) -> DenseFeatures:
        name = 'PatternAffinityPropagation'
        maps = task_maps(name, feats, self.tasks, self.in_channels, self.in_index)
        reduced = [self.reduce[task](x) for task, x in zip(self.tasks, maps)]
        out = pattern_diffusion(
            torch.stack(reduced, 1).flatten(3),
            self.mixing(),
            self.num_iters,
            self.beta,
            **self.options,
        )
        size = maps[0].shape[-2:]
        own = {task: x.unflatten(2, size) for task, x in zip(self.tasks, out.unbind(1))}
        return feats.replace(per_task={**feats.per_task, **own})

    def extra_repr(self) -> str:
        chosen = ', '.join(f'{key}={value!r}' for key, value in self.options.items())
        return f'{chosen}, num_iters={self.num_iters}, beta={self.beta}'
