"""The contexts of many pairs of tasks at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from mmdense.models.layers import ContextType, StackedProjection, pool_by_labels
from mmdense.registry import MODELS
from mmdense.utils import suggest

from .genotypes import CONTEXT_TYPES

#: Configs of the context types by name.
DEFAULT_CONTEXTS: dict[str, dict[str, Any]] = dict(
    local=dict(type='LocalContext', window=9),
    target_label=dict(type='TargetLabelContext'),
    source_label=dict(type='SourceLabelContext'),
)
DEFAULT_CONTEXTS['global'] = dict(type='GlobalContext')


class Block(NamedTuple):
    """One context: queries of ``target``, keys and values of ``source``, a type by its code."""

    target: str
    source: str
    code: int


class PairContexts(nn.Module):
    """Computes blocks of context, with what they have in common done once.

    Queries of one target share their input, and so do keys and values of one source: their
    first convolutions run as one. Blocks that pool one source by the same label maps (S-label
    for every target, and T-label of the source itself) share the pooled vectors.

    Children: ``contexts`` (by type), ``queries`` (by target), ``sources`` (keys and values, by
    what they read: ``<source>`` or ``<source>_by_<owner of the label maps>``).

    Args:
        blocks (Sequence[Block]): What to compute.
        in_channels (int): c, of the task features.
        channels (int): d, of queries, keys and values.
        contexts (Mapping | None): Configs that replace those of :data:`DEFAULT_CONTEXTS`.
        value_affine (bool): Whether the norms of values have scale and shift.

    Raises:
        KeyError: If ``contexts`` names an unknown type.
    """

    def __init__(
        self,
        blocks: Sequence[Block],
        in_channels: int,
        channels: int,
        contexts: Mapping[str, Mapping[str, Any]] | None = None,
        value_affine: bool = True,
    ) -> None:
        super().__init__()
        configs: dict[str, Any] = {**DEFAULT_CONTEXTS, **(contexts or {})}
        for name in configs:
            if name not in DEFAULT_CONTEXTS:
                raise KeyError(f"contexts['{name}']: {suggest(name, DEFAULT_CONTEXTS)}")
        used = sorted({block.code for block in blocks})
        self.contexts = nn.ModuleDict(
            {CONTEXT_TYPES[code]: MODELS.build(dict(configs[CONTEXT_TYPES[code]])) for code in used}
        )
        self.by_target: dict[str, list[Block]] = {}
        self.by_input: dict[tuple[str, str | None], list[Block]] = {}
        for block in blocks:
            self.by_target.setdefault(block.target, []).append(block)
            owner = self.type_of(block).labels_of(block.target, block.source)
            self.by_input.setdefault((block.source, owner), []).append(block)
        self.queries = nn.ModuleDict(
            {
                target: StackedProjection(in_channels, channels, self._softplus(members))
                for target, members in self.by_target.items()
            }
        )
        self.sources = nn.ModuleDict(
            {
                _name(*key): StackedProjection(
                    in_channels, channels, self._softplus(members), True, value_affine
                )
                for key, members in self.by_input.items()
            }
        )

    @property
    def label_owners(self) -> set[str]:
        """Tasks whose label maps are read."""
        return {owner for _, owner in self.by_input if owner is not None}

    def type_of(self, block: Block) -> ContextType:
        """The context type of a block."""
        kind = self.contexts[CONTEXT_TYPES[block.code]]
        assert isinstance(kind, ContextType)
        return kind

    def _softplus(self, blocks: Sequence[Block]) -> list[bool]:
        return [self.type_of(block).softplus for block in blocks]

    def forward(
        self,
        features: Mapping[str, Tensor],
        label_maps: Mapping[str, Tensor],
        valid: Tensor | None = None,
    ) -> dict[Block, Tensor]:
        """Contexts of all blocks.

        Args:
            features (Mapping[str, Tensor]): Task to ``(B, c, h, w)``.
            label_maps (Mapping[str, Tensor]): Task of ``label_owners`` to ``(B, K, h * w)``, of
                :func:`~mmdense.models.layers.spatial_softmax`.
            valid (Tensor | None): ``(B, 1, h, w)`` bool: positions that show the picture.

        Returns:
            dict[Block, Tensor]: ``(B, d, h, w)`` each.
        """
        queries: dict[Block, Tensor] = {}
        for target, blocks in self.by_target.items():
            made = self.queries[target](features[target])
            queries.update({block: query for block, (query, _) in zip(blocks, made)})
        out: dict[Block, Tensor] = {}
        for (source, owner), blocks in self.by_input.items():
            read = features[source]
            if owner is not None:
                read = pool_by_labels(label_maps[owner], read)
            made = self.sources[_name(source, owner)](read)
            for block, (key, value) in zip(blocks, made):
                out[block] = self.type_of(block)(queries[block], key, value, valid)
        return out


def _name(source: str, owner: str | None) -> str:
    return source if owner is None else f'{source}_by_{owner}'
