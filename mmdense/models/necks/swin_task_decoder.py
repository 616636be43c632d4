"""A small Swin Transformer per task on one shared map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmseg.models.backbones.swin import SwinBlockSequence
from mmseg.models.utils.embed import PatchMerging
from torch import Tensor, nn

from mmdense.models.layers import to_map, to_tokens, trunc_normal_
from mmdense.registry import MODELS
from mmdense.structures import DenseFeatures

from .task_features import check_channels, check_tasks


class SwinStages(nn.Module):
    """Stages of a Swin Transformer without a patch embedding.

    mmseg's blocks and its merging of patches. The output of a stage is taken ahead of the
    merging and has a layer norm of its own.

    Args:
        channels (int): C, those of the input and of the first stage; every stage has twice those
            of the one before.
        depths (Sequence[int]): Blocks of every stage; every second one is shifted.
        num_heads (Sequence[int]): Heads of every stage.
        window_size (int): Side of a window in pixels.
        with_cp (bool): Recompute the blocks in the backward pass.

    Shape:
        - input: ``(B, C, h, w)``.
        - output: per stage i ``(B, 2^i C, ceil(h / 2^i), ceil(w / 2^i))``.
    """

    def __init__(
        self,
        channels: int,
        depths: Sequence[int],
        num_heads: Sequence[int],
        window_size: int = 7,
        with_cp: bool = False,
    ) -> None:
        super().__init__()
        widths = [channels * 2**i for i in range(len(depths))]
        self.stages = nn.ModuleList(
            SwinBlockSequence(
                embed_dims=width,
                num_heads=heads,
                feedforward_channels=4 * width,
                depth=depth,
                window_size=window_size,
                with_cp=with_cp,
            )
            for width, depth, heads in zip(widths, depths, num_heads)
        )
        self.mergings = nn.ModuleList(
            PatchMerging(width, 2 * width, norm_cfg=dict(type='LN')) for width in widths[:-1]
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in widths)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Truncated normal of 0.02 for linear weights and position biases; the released code
        leaves linear layers at PyTorch's defaults.
        """
        for module in self.modules():
            if isinstance(module, nn.Linear):
                trunc_normal_(module.weight, 0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            table = getattr(module, 'relative_position_bias_table', None)
            if table is not None:
                trunc_normal_(table, 0.02)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        size = (x.shape[-2], x.shape[-1])
        tokens, outs = to_tokens(x), []
        for index, (stage, norm) in enumerate(zip(self.stages, self.norms)):
            if index:
                tokens, size = self.mergings[index - 1](tokens, size)
            # Without a merging of its own, a stage gives its tokens twice.
            tokens = stage(tokens, size)[0]
            outs.append(to_map(norm(tokens), size))
        return tuple(outs)


@MODELS.register_module()
class SwinTaskDecoder(nn.Module):
    """Decodes one shared map by a small Swin Transformer of each task's own.

    The task-specific decoders of MT-CP (WACV 2025): three stages of 1, 2 and 1 blocks with two
    heads each and windows of 7, on the map as it is, without patch embedding, position embedding
    or dropout. (The paper names "(2,2,2)" and "(1,2,1)" blocks and depth; the released code says
    which is which.)

    Args:
        channels (int): C, channels of the shared map.
        tasks (Sequence[str]): Task names; injected by the model.
        depths (Sequence[int]): Blocks of every stage.
        num_heads (Sequence[int]): Heads of every stage.
        window_size (int): Side of a window in pixels.
        in_index (int): Which of the shared maps to read.
        with_cp (bool): Recompute the blocks in the backward pass.

    Attributes:
        channels (tuple[int, ...]): Channels of the maps of a task, fine to coarse.

    Shape:
        - ``feats.shared[in_index]``: ``(B, C, h, w)``.
        - ``feats.per_task[task]`` out: ``(B, 2^i C, ceil(h / 2^i), ceil(w / 2^i))`` per stage i.

    Raises:
        ValueError: If there is no task, or stages and heads differ in number or do not divide.
        ShapeError: If the shared map has not C channels.
    """

    takes_features = True
    takes_tasks = True

    def __init__(
        self,
        channels: int,
        tasks: Sequence[str],
        depths: Sequence[int] = (1, 2, 1),
        num_heads: Sequence[int] = (2, 2, 2),
        window_size: int = 7,
        in_index: int = 0,
        with_cp: bool = False,
    ) -> None:
        super().__init__()
        self.tasks = check_tasks('SwinTaskDecoder', tasks)
        divides = all(channels * 2**i % heads == 0 for i, heads in enumerate(num_heads))
        if not depths or len(depths) != len(num_heads) or not divides:
            raise ValueError(
                f'SwinTaskDecoder: channels={channels}, depths={tuple(depths)}, num_heads='
                f'{tuple(num_heads)}; need one number of heads per stage that divides the '
                'channels of the stage, channels * 2^i.'
            )
        self.in_channels, self.in_index = channels, in_index
        self.channels = tuple(channels * 2**i for i in range(len(depths)))
        options: dict[str, Any] = dict(window_size=window_size, with_cp=with_cp)
        self.decoders = nn.ModuleDict(
            {task: SwinStages(channels, depths, num_heads, **options) for task in self.tasks}
        )

    def forward(self, feats: DenseFeatures) -> DenseFeatures:
        shared = feats.shared[self.in_index]
        check_channels('SwinTaskDecoder', shared, self.in_channels)
        own = {task: decoder(shared) for task, decoder in self.decoders.items()}
        return feats.replace(per_task={**feats.per_task, **own})
