"""HRNetV2 with its widths known by name."""

from __future__ import annotations

from typing import Any

from mmseg.models.backbones import HRNet as MMSegHRNet

from mmdense.models.utils import PretrainedInitMixin
from mmdense.registry import MODELS
from mmdense.utils import suggest


def _stages(width: int, blocks: tuple[int, int, int, int], modules: tuple[int, int, int]) -> Any:
    """The ``extra`` of mmseg: blocks of one branch per stage, modules of stages 2 to 4."""
    extra = dict(
        stage1=dict(
            num_modules=1,
            num_branches=1,
            block='BOTTLENECK',
            num_blocks=(blocks[0],),
            num_channels=(64,),
        )
    )
    for stage in (2, 3, 4):
        extra[f'stage{stage}'] = dict(
            num_modules=modules[stage - 2],
            num_branches=stage,
            block='BASIC',
            num_blocks=(blocks[stage - 1],) * stage,
            num_channels=tuple(width * 2**i for i in range(stage)),
        )
    return extra


#: Name to width, blocks per stage, and modules of stages 2 to 4.
ARCHITECTURES: dict[str, tuple[int, tuple[int, int, int, int], tuple[int, int, int]]] = {
    'w18-small': (18, (2, 2, 2, 2), (1, 3, 2)),
    'w18': (18, (4, 4, 4, 4), (1, 4, 3)),
    'w48': (48, (4, 4, 4, 4), (1, 4, 3)),
}


@MODELS.register_module()
class HRNet(PretrainedInitMixin, MMSegHRNet):
    """mmseg's HRNetV2 (Wang et al., "Deep High-Resolution Representation Learning for Visual
    Recognition", PAMI 2020) under the names of its releases.

    Parameter names are those of the authors' releases, which load as they are; their
    classifiers are left over.

    Args:
        arch (str): ``'w18-small'`` (the HRNet18 of ATRC, MTI-Net and DeMT), ``'w18'`` or
            ``'w48'``.
        init_cfg (dict | list[dict] | None): ``dict(type='Pretrained', checkpoint=...,
            prefix=..., max_missing=..., drop=...)``, or any initialiser of mmengine.
        **kwargs: Further arguments of mmseg's HRNet, but ``extra``.

    Attributes:
        channels (tuple[int, ...]): Channels of the four maps, fine to coarse.
        strides (tuple[int, ...]): Their strides, 4 to 32.

    Shape:
        - input: ``(B, 3, H, W)``.
        - output: tuple of ``(B, C_i, ceil(H / s_i), ceil(W / s_i))``, fine to coarse.

    Raises:
        ValueError: If ``arch`` is unknown.
    """

    strides = (4, 8, 16, 32)

    def __init__(
        self,
        arch: str = 'w18-small',
        *,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
        **kwargs: Any,
    ) -> None:
        if arch not in ARCHITECTURES:
            raise ValueError(f'HRNet.arch is {arch!r}. {suggest(arch, ARCHITECTURES)}')
        width, blocks, modules = ARCHITECTURES[arch]
        super().__init__(extra=_stages(width, blocks, modules), init_cfg=init_cfg, **kwargs)
        self.arch = arch
        self.channels = tuple(width * 2**i for i in range(4))

    def train(self, mode: bool = True) -> HRNet:
        super().train(mode)
        return self  # mmseg's returns None, which breaks `model.eval()(x)`
