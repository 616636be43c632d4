"""The search for the context of every pair of tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdense.registry import MODELS
from mmdense.structures import DenseFeatures

from .genotypes import CONTEXT_TYPES
from .pair_contexts import Block
from .relational_context import BaseRelationalContext

# A logit that no softmax sees; -inf would make the entropy NaN.
_NEVER = -1e4


@MODELS.register_module()
class RelationalContextSearch(BaseRelationalContext):
    """All contexts of :class:`RelationalContext` in one network, mixed by learnt weights.

    Every pair of tasks has five candidates, no context among them; four where target and source
    are one task, since S- and T-label are the same there. They are mixed by a Gumbel softmax of
    logits that start at 0. Beside the losses of the tasks stands the mean entropy of the pairs,
    ``genotype.loss_entropy``, whose weight grows from negative (exploring) to positive (deciding).
    A pair whose two largest probabilities are far enough apart is decided for good.

    :class:`~mmdense.engine.hooks.GenotypeSearchHook` moves temperature and weight, decides
    pairs and writes the genotype file; ``SplitOptimWrapper`` gives the logits an optimizer of their
    own. The result is trained from scratch as a :class:`RelationalContext`. In evaluation, weights
    are the softmax of the logits at the present temperature, without noise.

    The norms of the values, the last of each block, have neither scale nor shift, so that the
    weights alone say how much of a context is used. A decided pair still computes all its
    candidates: every parameter keeps a gradient on every process.

    Args:
        in_channels, tasks, task_channels, channels: As in :class:`RelationalContext`.
        context_channels, auxiliary_tasks, contexts, mask_padding: As there.

    Attributes:
        genotype_logits (nn.Parameter): ``(T, T, 5)`` by target, source and code.
        temperature (float): Of the softmax; 1 at the start.
        entropy_weight (float): -0.02 at the start.
    """

    frozen: Tensor
    choice: Tensor
    possible: Tensor

    def __init__(
        self,
        in_channels: int | Sequence[int],
        tasks: Sequence[str],
        task_channels: Mapping[str, int],
        channels: int | None = None,
        context_channels: int | None = None,
        auxiliary_tasks: Mapping[str, Any] | None = None,
        contexts: Mapping[str, Mapping[str, Any]] | None = None,
        mask_padding: bool = True,
    ) -> None:
        codes = range(1, len(CONTEXT_TYPES))
        blocks = [
            Block(target, source, code)
            for target in tasks
            for source in tasks
            for code in codes
            if target != source or code < codes[-1]
        ]
        super().__init__(
            in_channels,
            tasks,
            task_channels,
            blocks,
            dict.fromkeys(tasks, len(tasks)),
            channels,
            context_channels,
            auxiliary_tasks,
            contexts,
            mask_padding,
            value_affine=False,
        )
        number = len(tasks)
        self.genotype_logits = nn.Parameter(torch.zeros(number, number, len(CONTEXT_TYPES)))
        possible = torch.ones(number, number, len(CONTEXT_TYPES), dtype=torch.bool)
        possible[range(number), range(number), -1] = False
        self.register_buffer('possible', possible, persistent=False)
        self.register_buffer('frozen', torch.zeros(number, number, dtype=torch.bool))
        self.register_buffer('choice', torch.zeros(number, number, dtype=torch.long))
        self.temperature, self.entropy_weight = 1.0, -0.02
        self._places = {
            block: (tasks.index(block.target), tasks.index(block.source), block.code)
            for block in blocks
        }

    def forward(self, feats: DenseFeatures) -> DenseFeatures:
        out = super().forward(feats)
        if not feats.supervised:
            return out
        loss = self.entropy_weight * self.entropy().mean()
        return out.replace(losses={**out.losses, 'genotype.loss_entropy': loss})

    def combine(self, contexts: dict[Block, Tensor]) -> dict[str, list[Tensor]]:
        weights = self.weights()
        sums: dict[tuple[str, str], Tensor] = {}
        for block, context in contexts.items():
            share = weights[self._places[block]].to(context.dtype) * context
            pair = (block.target, block.source)
            sums[pair] = sums[pair] + share if pair in sums else share
        return {t: [sums[t, s] for s in self.tasks] for t in self.tasks}

    def masked_logits(self) -> Tensor:
        """Logits ``(T, T, 5)`` in which impossible candidates never win."""
        return self.genotype_logits.float().masked_fill(~self.possible, _NEVER)

    def weights(self) -> Tensor:
        """Weights ``(T, T, 5)`` of the candidates in this forward pass; sums are 1."""
        logits = self.masked_logits()
        if self.training:
            mixed = F.gumbel_softmax(logits, self.temperature)
        else:
            mixed = (logits / self.temperature).softmax(-1)
        return self._decided(mixed)

    def probabilities(self) -> Tensor:
        """Softmax ``(T, T, 5)`` of the logits; one-hot for decided pairs."""
        return self._decided(self.masked_logits().softmax(-1))

    def _decided(self, weights: Tensor) -> Tensor:
        chosen = F.one_hot(self.choice, len(CONTEXT_TYPES)).to(weights.dtype)
        return torch.where(self.frozen[..., None], chosen, weights)

    def entropy(self) -> Tensor:
        """Entropy ``(T, T)`` of the pairs in nats; 0 for decided ones."""
        log_p = self.masked_logits().log_softmax(-1)
        return torch.where(self.frozen, 0.0, -(log_p.exp() * log_p).sum(-1))

    @torch.no_grad()
    def freeze(self, gap: float = 0.3) -> None:
        """Decide every pair whose two largest probabilities differ by at least ``gap``."""
        p = self.masked_logits().softmax(-1)
        first, second = p.topk(2, dim=-1).values.unbind(-1)
        ready = ~self.frozen & (first - second >= gap)
        self.choice.copy_(torch.where(ready, p.argmax(-1), self.choice))
        self.frozen.logical_or_(ready)

    def genotype(self) -> list[list[int]]:
        """Codes of all pairs, undecided ones by their largest logit."""
        codes: list[list[int]] = self.probabilities().argmax(-1).tolist()
        return codes
