"""Cross-task affinity learning: what is alike for one task guides the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdense.models.layers import ConstructorInitModule, at_least_float32
from mmdense.registry import MODELS
from mmdense.structures import DenseFeatures
from mmdense.utils import ShapeError

from .functional import cross_task_affinity
from .functional.cross_task import IMPLEMENTATIONS
from .task_features import check_tasks, task_maps

#: What the released code does where it differs from the defaults.
RELEASED = dict(joint_affinity='shared', filter_size=3, value_kernel=3)
_DEFAULTS = dict(joint_affinity='per_task', filter_size=3, value_kernel=None)
_CHOICES = dict(
    joint_affinity=('per_task', 'shared'),
    token_kernels=('per_token', 'shared'),
    affinity_impl=IMPLEMENTATIONS,
)


class JointKernel(nn.Module):
    """Kernels of the grouped convolution that joins the affinity maps of all tasks.

    Parameters: ``kernel`` ``(J, N, T, f, f)`` and ``bias`` ``(J, N)``, initialised as a
    convolution with groups = N is.

    Args:
        joints (int): J, T for one joint affinity per task, or 1.
        tasks (int): T.
        filter_size (int): f, odd.
        feat_size (tuple[int, int] | None): Token grid (H, W), N = H * W. None: one kernel for
            all tokens (N = 1).
    """

    def __init__(
        self, joints: int, tasks: int, filter_size: int, feat_size: tuple[int, int] | None
    ) -> None:
        super().__init__()
        self.feat_size = feat_size
        count = 1 if feat_size is None else feat_size[0] * feat_size[1]
        self.kernel = nn.Parameter(torch.empty(joints, count, tasks, filter_size, filter_size))
        self.bias = nn.Parameter(torch.empty(joints, count))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform within ``1 / sqrt(T f^2)``, PyTorch's default for a convolution."""
        bound = self.kernel[0, 0].numel() ** -0.5
        nn.init.uniform_(self.kernel, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    @torch.no_grad()
    def resize(self, size: tuple[int, int], keep_sum: bool) -> None:
        """Resample both bilinearly as maps over the token grid."""
        if self.feat_size is None:
            return
        factor = 1.0
        if keep_sum:
            factor = self.feat_size[0] * self.feat_size[1] / (size[0] * size[1])
        for name in ('kernel', 'bias'):
            table = getattr(self, name)
            maps = table.flatten(2).mT if name == 'kernel' else table[:, None]
            maps = F.interpolate(
                maps.unflatten(2, self.feat_size).float(),
                size=size,
                mode='bilinear',
                align_corners=False,
            )
            flat = factor * maps.flatten(2).mT.to(table.dtype)
            flat = flat.reshape(len(table), -1, *table.shape[2:])
            setattr(self, name, nn.Parameter(flat, requires_grad=table.requires_grad))
        self.feat_size = size

    def extra_repr(self) -> str:
        return f'kernel={tuple(self.kernel.shape)}, feat_size={self.feat_size}'


@MODELS.register_module()
class CrossTaskAffinity(ConstructorInitModule):
    """Gram matrices of all tasks, joined by a convolution, gather the values of each task.

    Sinodinos & Armanfard, "Cross-Task Affinity Learning for Multitask Dense Scene
    Predictions" (WACV 2025): per task a 1x1 convolution to ``channels``, cosine affinities of
    all pairs of tokens, a grouped f x f convolution that mixes the tasks for each token, values
    by an f x f convolution, ``gamma * attended + (1 - gamma) * features``, and twice the size.
    Nothing normalises the affinity, so that ``gamma`` belongs to the number of tokens.

    Differs from the authors' code by default: it has one joint affinity for all tasks, where
    the figure of the paper has one per task, and knows filters of size 3 only;
    ``released=True`` brings both back. The N x N matrices are never built where that is
    cheaper (``affinity_impl``); the result is the same.

    Ours: ``token_kernels='shared'``, :meth:`resize_tokens`.

    Children: ``reduce``, ``value`` and ``up`` by task, ``joint``.

    Args:
        tasks (Sequence[str]): Task names; injected by the model.
        in_channels (int): Channels of the maps of the tasks.
        channels (int): C, working width and output. Defaults to 128.
        feat_size (tuple[int, int] | None): Token grid (H, W) of the maps: there is a kernel per
            token. Only ``token_kernels='shared'`` can do without.
        filter_size (int | None): f, odd, of the joint convolution and the values. None: 3.
        value_kernel (int | None): Odd kernel of the values if another one.
        gamma (float): Share of what is attended, in [0, 1]. Defaults to 0.05.
        joint_affinity (str | None): ``'per_task'`` (paper; None) or ``'shared'``.
        token_kernels (str): ``'per_token'``, or ``'shared'``: one kernel for all tokens, at any
            size of input. Defaults to ``'per_token'``.
        norm_act (bool): Batch norm and ReLU after the 1x1 convolution, which makes affinities
            non-negative (the form for SwinV2). Defaults to False.
        affinity_impl (str): ``'explicit'``, ``'factorised'``, or ``'auto'``, the cheaper one at
            the size at hand. Defaults to ``'auto'``.
        upsample (bool): Whether a transposed convolution and a 3x3 convolution double the
            size. Defaults to True.
        in_index (int): Which map of a task to read. Defaults to 0.
        released (bool): Make None of the options above mean what the released code does.
        init_cfg (dict | None): Initialisation config of mmengine.

    Shape:
        - in: map ``in_index`` of each task, ``(B, in_channels, H, W)``.
        - ``feats.per_task`` out: ``(B, C, 2 H, 2 W)``, or ``(B, C, H, W)`` without ``upsample``.

    Raises:
        ValueError: If an option is unknown, out of range, or ``feat_size`` is missing.
        ShapeError: In the forward pass, if the grid is not ``feat_size``, or channels differ.

    Example:
        >>> neck = CrossTaskAffinity(['semseg', 'depth'], 8, 4, feat_size=(3, 5))
        >>> maps = dict.fromkeys(['semseg', 'depth'], torch.ones(1, 8, 3, 5))
        >>> neck(DenseFeatures(per_task=maps)).per_task['depth'].shape
        torch.Size([1, 4, 6, 10])
    """

    takes_features = True
    takes_tasks = True

    def __init__(
        self,
        tasks: Sequence[str],
        in_channels: int,
        channels: int = 128,
        feat_size: tuple[int, int] | None = None,
        filter_size: int | None = None,
        value_kernel: int | None = None,
        gamma: float = 0.05,
        joint_affinity: str | None = None,
        token_kernels: str = 'per_token',
        norm_act: bool = False,
        affinity_impl: str = 'auto',
        upsample: bool = True,
        in_index: int = 0,
        released: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        given = dict(
            joint_affinity=joint_affinity, filter_size=filter_size, value_kernel=value_kernel
        )
        preset: dict[str, Any] = RELEASED if released else _DEFAULTS
        self.options: dict[str, Any] = {
            key: preset[key] if value is None else value for key, value in given.items()
        }
        if self.options['value_kernel'] is None:
            self.options['value_kernel'] = self.options['filter_size']
        _check(dict(self.options, token_kernels=token_kernels, affinity_impl=affinity_impl), gamma)
        self.tasks = check_tasks('CrossTaskAffinity', tasks)
        self.in_channels, self.channels, self.in_index = in_channels, channels, in_index
        self.gamma, self.affinity_impl = gamma, affinity_impl
        self.reduce = nn.ModuleDict()
        self.value = nn.ModuleDict()
        self.up = nn.ModuleDict()
        size = self.options['value_kernel']
        for task in self.tasks:
            self.reduce[task] = _reduction(in_channels, channels, norm_act)
            self.value[task] = nn.Conv2d(channels, channels, size, padding=size // 2)
            self.up[task] = _doubling(channels) if upsample else nn.Identity()
        joints = len(self.tasks) if self.options['joint_affinity'] == 'per_task' else 1
        grid = _grid(feat_size) if token_kernels == 'per_token' else None
        self.joint = JointKernel(joints, len(self.tasks), self.options['filter_size'], grid)

    @property
    def feat_size(self) -> tuple[int, int] | None:
        """The token grid (H, W) that the joint kernels belong to; None: any."""
        return self.joint.feat_size

    def resize_tokens(self, size: tuple[int, int], keep_sum: bool = False) -> None:
        """Resample the joint kernels bilinearly for another token grid (our extension).

        The parameters are replaced: call it after loading weights and before an optimizer is
        built. Without effect for ``token_kernels='shared'``, which fits any grid.

        Args:
            size (tuple[int, int]): Height and width of the new grid, tokens.
            keep_sum (bool): Scale kernels by the old over the new number of tokens, so that what
                is attended, a sum over tokens, keeps its magnitude and ``gamma`` its meaning.
                Defaults to False.
        """
        self.joint.resize(_grid(size), keep_sum)

    def forward(self, feats: DenseFeatures) -> DenseFeatures:
        maps = task_maps('CrossTaskAffinity', feats, self.tasks, self.in_channels, self.in_index)
        self._check_grid(maps[0])
        own = [self.reduce[task](x) for task, x in zip(self.tasks, maps)]
        mixed = self.attend(own)
        out = {task: self.up[task](x) for task, x in zip(self.tasks, mixed)}
        return feats.replace(per_task={**feats.per_task, **out})

    def attend(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Blend each map with what the joint affinity gathers, between ``reduce`` and ``up``.

        Args:
            maps (Sequence[Tensor]): Per task ``(B, C, H, W)``.

        Returns:
            list[Tensor]: Per task ``(B, C, H, W)``.
        """
        values = torch.stack([self.value[task](x) for task, x in zip(self.tasks, maps)], 1)
        tokens = F.normalize(at_least_float32(torch.stack(list(maps), 1)), dim=2)
        attended = cross_task_affinity(
            tokens, values, self.joint.kernel, self.joint.bias, self.affinity_impl
        )
        return [
            torch.lerp(x, other.to(x.dtype), self.gamma)
            for x, other in zip(maps, attended.unbind(1))
        ]

    def _check_grid(self, x: Tensor) -> None:
        grid = (x.shape[-2], x.shape[-1])
        if self.feat_size not in (None, grid):
            raise ShapeError(
                f'CrossTaskAffinity: feat_size is {self.feat_size} (H, W), the map it reads has '
                f'the grid {grid} (shape {tuple(x.shape)}), and there is a kernel per token. Build '
                f'it with `feat_size={grid}`, call `resize_tokens({grid})` on a trained one, feed '
                "inputs of the training size, or set `token_kernels='shared'`."
            )


def _reduction(in_channels: int, channels: int, norm_act: bool) -> nn.Module:
    conv = nn.Conv2d(in_channels, channels, 1)
    return nn.Sequential(conv, nn.BatchNorm2d(channels), nn.ReLU()) if norm_act else conv


def _doubling(channels: int) -> nn.Module:
    return nn.Sequential(
        nn.ConvTranspose2d(channels, channels, 2, stride=2),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 3, padding=1),
    )


def _grid(size: Sequence[int] | None) -> tuple[int, int]:
    pair = tuple(size or ())
    if len(pair) != 2 or min(pair) < 1:
        raise ValueError(
            f'CrossTaskAffinity.feat_size is {size}; expected height and width of the maps it '
            'reads, such as (72, 96) for 288 x 384 pictures at 1/4, as there is a kernel per token '
            "(`token_kernels='shared'` does without)."
        )
    return pair[0], pair[1]


def _check(options: dict[str, Any], gamma: float) -> None:
    for key, known in _CHOICES.items():
        if options[key] not in known:
            raise ValueError(
                f'CrossTaskAffinity.{key} is {options[key]!r}; choose one of '
                f'{", ".join(map(repr, known))}.'
            )
    for key in ('filter_size', 'value_kernel'):
        if options[key] < 1 or options[key] % 2 == 0:
            raise ValueError(
                f'CrossTaskAffinity.{key} is {options[key]}; expected an odd number, so that '
                'the window has a centre.'
            )
    if not 0 <= gamma <= 1:
        raise ValueError(f'CrossTaskAffinity.gamma is {gamma}; expected a share in [0, 1].')
