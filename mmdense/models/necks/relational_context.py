"""Relational context: every task looks at every other in the way that suits the pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from mmdense.models.layers import spatial_softmax, xavier_conv1x1
from mmdense.registry import MODELS
from mmdense.structures import DenseFeatures
from mmdense.tasks import build_tasks
from mmdense.utils import suggest

from .genotypes import GenotypeConfig, read_genotype
from .multi_scale_fusion import MultiScaleFusion
from .pair_contexts import Block, PairContexts
from .task_features import check_tasks


class ContextFusion(nn.Module):
    """A task's feature next to its contexts.

    conv1x1-BN over the concatenated contexts, concatenation with the feature, conv1x1-BN-ReLU.
    Scale and shift of the first norm start at 0: a new network does not see the contexts.
    Without any context the second convolution reads the feature alone.

    Args:
        channels (int): c.
        context_channels (int): Of all contexts together; 0 for none.
    """

    def __init__(self, channels: int, context_channels: int) -> None:
        super().__init__()
        self.reduce: nn.Conv2d | None = None
        self.reduce_norm: nn.BatchNorm2d | None = None
        if context_channels:
            self.reduce = xavier_conv1x1(context_channels, channels)
            self.reduce_norm = nn.BatchNorm2d(channels)
            nn.init.zeros_(self.reduce_norm.weight)
        self.project = xavier_conv1x1(channels * (2 if context_channels else 1), channels)
        self.project_norm = nn.BatchNorm2d(channels)

    def forward(self, feature: Tensor, contexts: Sequence[Tensor]) -> Tensor:
        """``(B, c, h, w)`` and contexts ``(B, d_i, h, w)`` to ``(B, c, h, w)``."""
        if self.reduce is not None and self.reduce_norm is not None:
            context = self.reduce_norm(self.reduce(torch.cat(list(contexts), 1)))
            feature = torch.cat([context, feature], 1)
        return self.project_norm(self.project(feature)).relu()


class BaseRelationalContext(nn.Module):
    """What the fixed network and the search network have in common.

    A subclass writes :meth:`combine`. Arguments and shapes are those of
    :class:`RelationalContext`; ``blocks`` are the contexts to compute, ``contexts_per_target`` how
    many maps of d channels :meth:`combine` makes of them for each target, and ``value_affine``
    is that of :class:`PairContexts`.
    """

    takes_features = True
    takes_tasks = True
    takes_task_channels = True

    def __init__(
        self,
        in_channels: int | Sequence[int],
        tasks: Sequence[str],
        task_channels: Mapping[str, int],
        blocks: Sequence[Block],
        contexts_per_target: Mapping[str, int],
        channels: int | None = None,
        context_channels: int | None = None,
        auxiliary_tasks: Mapping[str, Any] | None = None,
        contexts: Mapping[str, Mapping[str, Any]] | None = None,
        mask_padding: bool = True,
        value_affine: bool = True,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.tasks = check_tasks(name, tasks)
        self.fusion = MultiScaleFusion(
            (in_channels,) if isinstance(in_channels, int) else in_channels
        )
        width = self.fusion.channels[0]
        self.channels = width // 4 if channels is None else channels
        self.context_channels = self.channels // 2 if context_channels is None else context_channels
        self.mask_padding = mask_padding
        # mmcv's norm and ReLU, as in the head of the multi-task baseline.
        norm, act = dict(type='BN'), dict(type='ReLU')
        self.bottlenecks = nn.ModuleDict(
            {
                task: ConvModule(width, self.channels, 3, padding=1, norm_cfg=norm, act_cfg=act)
                for task in self.tasks
            }
        )
        self.pairs = PairContexts(
            blocks, self.channels, self.context_channels, contexts, value_affine
        )
        owners = [task for task in self.tasks if task in self.pairs.label_owners]
        labels = self._label_channels(name, owners, task_channels, auxiliary_tasks or {})
        self.auxiliary = nn.ModuleDict(
            {task: _auxiliary_branch(width, labels[task]) for task in owners}
        )
        self.fusions = nn.ModuleDict(
            {
                task: ContextFusion(
                    self.channels, contexts_per_target[task] * self.context_channels
                )
                for task in self.tasks
            }
        )

    def _label_channels(
        self,
        name: str,
        owners: Sequence[str],
        task_channels: Mapping[str, int],
        variants: Mapping[str, Any],
    ) -> dict[str, int]:
        """Label maps per task: channels of its variant, or of the task itself."""
        built = build_tasks(variants) if variants else {}
        for key in built:
            if key not in self.tasks:
                raise KeyError(f"{name}.auxiliary_tasks['{key}']: {suggest(key, self.tasks)}")
        labels = dict(task_channels) | {key: task.num_channels for key, task in built.items()}
        for task in owners:
            if labels[task] < 2:
                raise ValueError(
                    f"{name}: the label maps of task '{task}' would be {labels[task]} channel; a "
                    'label context needs at least 2. Give `auxiliary_tasks` a variant of the task '
                    'by classes (BinnedDepth, CentroidNormal, num_logits=2).'
                )
        return labels

    def forward(self, feats: DenseFeatures) -> DenseFeatures:
        fused = self.fusion(feats).shared[0]
        features = {task: self.bottlenecks[task](fused) for task in self.tasks}
        valid = feats.valid_positions(fused) if self.mask_padding else None
        logits = {task: branch(fused.detach()) for task, branch in self.auxiliary.items()}
        maps = {task: spatial_softmax(x, valid) for task, x in logits.items()}
        contexts = self.combine(self.pairs(features, maps, valid))
        refined: dict[str, Any] = {
            task: self.fusions[task](features[task], contexts[task]) for task in self.tasks
        }
        intermediate = dict(feats.intermediate)
        if feats.supervised:
            for task, x in logits.items():
                intermediate[task] = [*intermediate.get(task, ()), x]
        return feats.replace(
            shared=(fused,), per_task={**feats.per_task, **refined}, intermediate=intermediate
        )

    def combine(self, contexts: dict[Block, Tensor]) -> dict[str, list[Tensor]]:
        """The contexts that each target concatenates, from those of all blocks."""
        raise NotImplementedError


def _auxiliary_branch(channels: int, labels: int) -> nn.Sequential:
    """conv1x1-BN-ReLU-conv1x1 to the logits of an auxiliary map."""
    norm, act = dict(type='BN'), dict(type='ReLU')
    hidden = ConvModule(channels, channels, 1, norm_cfg=norm, act_cfg=act)
    return nn.Sequential(hidden, nn.Conv2d(channels, labels, 1))


@MODELS.register_module()
class RelationalContext(BaseRelationalContext):
    """Adaptive task-relational context (ATRC) with a fixed genotype.

    Bruggemann et al., "Exploring Relational Context for Multi-Task Dense Prediction" (ICCV
    2021). The levels of the backbone are fused; per task a 3x3 convolution makes a feature F of c
    channels. For every ordered pair of a target and a source (they may be the same task) a block
    lets the target's F attend to the source's F in one of four ways: globally, in a window, or
    to the source pooled by label maps, those of the target (T-label) or of the source (S-label).
    Which one is the genotype. The contexts of a target are joined with its F.

    Label maps come from auxiliary predictions on the fused feature, whose gradient stops there;
    they are in ``intermediate`` for the head to train, softmaxed over positions for the
    contexts. A task whose channels are no classes needs a variant in ``auxiliary_tasks``, and
    its head the same as ``intermediate_task``.

    Differs from the released code: padding (as the data samples tell) takes part in no context.
    There, a mask that never fires lets padded pixels into the pooling; ``mask_padding=False``
    does the same.

    Children: ``fusion``, ``bottlenecks``, ``pairs``, ``auxiliary``, ``fusions``.

    Args:
        in_channels (int | Sequence[int]): Channels of the shared maps, fine to coarse.
        tasks (Sequence[str]): Task names; injected by the model.
        task_channels (Mapping[str, int]): Output channels by task; injected by the model.
        genotype (str | Sequence[Sequence]): Context type of every pair (see
            :func:`~mmdense.models.necks.genotypes.read_genotype`): ``'nyud-hrnet18'``,
            ``'nyud-hrnet48'``, ``'pascal-hrnet18'``, ``'all-1'`` ... ``'all-4'``, a file that a
            search wrote, or rows of codes: 0 none, 1 global, 2 local, 3 T-label, 4 S-label.
        channels (int | None): c. None: a quarter of the fused channels, rounded down.
        context_channels (int | None): d, of queries, keys and values. None: half of c, rounded
            down.
        auxiliary_tasks (Mapping | None): Task to config of the variant that its auxiliary map
            predicts. Others predict what the task does.
        contexts (Mapping | None): Configs that replace the default context types ``'global'``,
            ``'local'``, ``'target_label'`` and ``'source_label'``, for example
            ``dict(local=dict(type='LocalContext', window=9, border='exclude'))``.
        mask_padding (bool): Whether padding is left out of the contexts. Defaults to True.

    Shape:
        - ``feats.shared`` in: ``(B, in_channels[i], H_i, W_i)``, fine to coarse.
        - ``feats.shared`` out: the fused map ``(B, C, h, w)``.
        - ``feats.per_task`` out: ``(B, c, h, w)`` for every task.
        - ``feats.intermediate`` out, while training: logits ``(B, K, h, w)`` for tasks whose
          label maps the genotype uses.

    Raises:
        ValueError: If the genotype does not fit the tasks, or a label map has one channel only.
        KeyError: If ``auxiliary_tasks`` or ``contexts`` has an unknown key.
        ShapeError: If the maps are not those of ``in_channels``.

    Example:
        >>> neck = RelationalContext((8, 16), ['semseg', 'part'], dict(semseg=4, part=7), 'all-3')
        >>> neck.channels, neck.context_channels
        (6, 3)
    """

    def __init__(
        self,
        in_channels: int | Sequence[int],
        tasks: Sequence[str],
        task_channels: Mapping[str, int],
        genotype: GenotypeConfig,
        channels: int | None = None,
        context_channels: int | None = None,
        auxiliary_tasks: Mapping[str, Any] | None = None,
        contexts: Mapping[str, Mapping[str, Any]] | None = None,
        mask_padding: bool = True,
    ) -> None:
        self.genotype = read_genotype(genotype, tasks)
        blocks = [
            Block(target, source, code)
            for target, row in zip(tasks, self.genotype)
            for source, code in zip(tasks, row)
            if code
        ]
        super().__init__(
            in_channels,
            tasks,
            task_channels,
            blocks,
            {task: sum(block.target == task for block in blocks) for task in tasks},
            channels,
            context_channels,
            auxiliary_tasks,
            contexts,
            mask_padding,
        )
        self.blocks = tuple(blocks)

    def combine(self, contexts: dict[Block, Tensor]) -> dict[str, list[Tensor]]:
        # In the order of the sources, whatever the order in which they were computed.
        return {
            task: [contexts[block] for block in self.blocks if block.target == task]
            for task in self.tasks
        }
