"""The necks of MT-CP as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.model import BaseModule
from torch import nn

from mmdense.registry import MODELS
from mmdense.structures import DenseFeatures

from .coherence_fusion import CoherenceFusion
from .pyramid_fusion import PyramidFusion
from .spatial_refinement import SpatialRefinement
from .swin_task_decoder import SwinTaskDecoder
from .task_features import check_tasks

#: What the released code does where it differs from the defaults.
RELEASED: dict[str, Any] = dict(main_relu=False, loss_cos=0.0)
_DEFAULTS: dict[str, Any] = dict(main_relu=True, loss_cos=0.01)
#: Which map of its decoder a task goes on with.
DECODER_OUTPUTS = ('pyramid', 'stage1')


@MODELS.register_module()
class MTCPNeck(BaseModule):
    """Shared embedding, task decoders, pyramid fusion, coherence fusion, spatial refinement.

    "Optimizing Dense Visual Predictions Through Multi-Task Coherence and Prioritization"
    (MT-CP, WACV 2025). The same parts can be listed one by one as necks; this one passes what
    they share to all of them, switches them off for the ablations, and knows what the released
    code does.

    ``released=True``: no ReLU at the end of the main branch of coherence fusion, and no cosine
    distance. Losses, their weights and the balance of tasks of the released code are set by
    tasks, heads and balancer of a config.

    A model of one task has neither coherence fusion nor refinement (``with_cfm=False,
    with_srm=False``).

    Children: ``embedding``, ``decoder``, ``pyramid``, ``coherence``, ``refinement``; those that
    are switched off are absent.

    Args:
        channels (int): C, width of the shared map and of the maps of the tasks.
        task_channels (Mapping[str, int]): Task to its output channels; injected by the model.
        embedding (dict | None): Config of a neck that makes one shared map of C channels,
            such as ``Mask2FormerEmbedding``. None: there is one already.
        depths, num_heads, window_size: As in :class:`SwinTaskDecoder`.
        decoder_output (str): ``'pyramid'``: pyramid fusion of all stages. ``'stage1'``: the
            first stage alone, and no other exists; the single-task models of the released
            code. Needs ``with_cfm=False`` and ``with_srm=False``.
        fusion_weights (str | None): As in :class:`PyramidFusion`.
        with_cfm (bool): Whether there is coherence fusion.
        with_srm (bool): Whether there is spatial refinement, and with it supervised
            intermediate predictions.
        main_relu, loss_cos: As in :class:`CoherenceFusion`. None: True and 0.01; the values of
            the released code with ``released``.
        attention, attn_scale, kv_stride: As in :class:`CoherenceFusion`.
        intermediate_convs, predict_from_cfm, antialias: As in :class:`SpatialRefinement`.
        released (bool): Make ``None`` of ``main_relu`` and ``loss_cos`` mean what the released
            code does.
        with_cp (bool): Recompute decoders and coherence fusion in the backward pass.
        init_cfg (dict | None): Initialisation config of mmengine.

    Attributes:
        options (dict): The two options as they are in force.

    Shape:
        - ``feats.shared`` in: what ``embedding`` reads, or one map ``(B, C, h, w)``.
        - ``feats.shared`` out: one map ``(B, C, h, w)``.
        - ``feats.per_task[task]`` out: ``(B, C, h, w)``.
        - ``feats.intermediate[task]``: logits of two maps, a quarter and half as high and wide;
          with ``predict_from_cfm`` one more, of the full size, ahead of them.
        - ``feats.losses['loss_cos']``: scalar.

    Raises:
        ValueError: If an option is unknown, out of range, or does not go with another.
        ShapeError: If the maps are not those of the config.

    Example:
        >>> neck = MTCPNeck(16, dict(semseg=13, depth=1), released=True)
        >>> neck.options
        {'main_relu': False, 'loss_cos': 0.0}
    """

    takes_features = True
    takes_task_channels = True

    def __init__(
        self,
        channels: int,
        task_channels: Mapping[str, int],
        embedding: dict[str, Any] | None = None,
        depths: Sequence[int] = (1, 2, 1),
        num_heads: Sequence[int] = (2, 2, 2),
        window_size: int = 7,
        decoder_output: str = 'pyramid',
        fusion_weights: str | None = None,
        with_cfm: bool = True,
        with_srm: bool = True,
        main_relu: bool | None = None,
        loss_cos: float | None = None,
        attention: str = 'auto',
        attn_scale: float | str = 1.0,
        kv_stride: int = 1,
        intermediate_convs: int | Mapping[str, int] = 2,
        predict_from_cfm: bool = False,
        antialias: bool = False,
        released: bool = False,
        with_cp: bool = False,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        tasks = check_tasks('MTCPNeck', list(task_channels))
        _check_switches(tasks, decoder_output, with_cfm, with_srm)
        given = dict(main_relu=main_relu, loss_cos=loss_cos)
        preset: dict[str, Any] = RELEASED if released else _DEFAULTS
        self.options: dict[str, Any] = {
            key: preset[key] if v is None else v for key, v in given.items()
        }
        if embedding is not None:
            self.embedding: nn.Module = MODELS.build(embedding)
        stages = len(depths) if decoder_output == 'pyramid' else 1
        self.decoder = SwinTaskDecoder(
            channels, tasks, depths[:stages], num_heads[:stages], window_size, with_cp=with_cp
        )
        if decoder_output == 'pyramid':
            self.pyramid = PyramidFusion(self.decoder.channels, channels, tasks, fusion_weights)
        if with_cfm:
            self.coherence = CoherenceFusion(
                channels,
                tasks,
                attention=attention,
                attn_scale=attn_scale,
                kv_stride=kv_stride,
                with_cp=with_cp,
                **self.options,
            )
        if with_srm:
            self.refinement = SpatialRefinement(
                channels,
                self.decoder.channels,
                task_channels,
                intermediate_convs,
                predict_from_cfm,
                antialias,
            )

    def forward(self, feats: DenseFeatures) -> DenseFeatures:
        for neck in self.children():
            feats = neck(feats)
        # Without refinement the map that the head reads is followed by those of the decoder.
        own = {task: feats.maps_for(task)[0] for task in feats.per_task}
        return feats.replace(per_task=own)


def _check_switches(
    tasks: Sequence[str], decoder_output: str, with_cfm: bool, with_srm: bool
) -> None:
    if decoder_output not in DECODER_OUTPUTS:
        raise ValueError(
            f'MTCPNeck.decoder_output is {decoder_output!r}; choose from {DECODER_OUTPUTS}.'
        )
    if decoder_output == 'stage1' and (with_cfm or with_srm):
        raise ValueError(
            "MTCPNeck: decoder_output='stage1' has one map per task, and coherence fusion and "
            'refinement need all stages. Set with_cfm=False and with_srm=False.'
        )
    if with_cfm and len(tasks) < 2:
        raise ValueError(
            f'MTCPNeck: coherence fusion needs two tasks or more, the model has {list(tasks)}. '
            'Set with_cfm=False.'
        )
