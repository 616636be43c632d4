"""Random draws of a step that depend on nothing but seed, step and process."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdense.registry import HOOKS


@HOOKS.register_module()
class IterationSeedHook(Hook):
    """Seeds torch before every training step from (seed, iteration, rank).

    Drop path, dropout and sampled losses then draw the same numbers in a resumed run as
    in one that never stopped, for any number of processes, and checkpoints need no
    random state. The order of samples and their augmentation have their own source
    (:class:`~mmdense.datasets.SeededInfiniteSampler`).
    """

    priority = 'VERY_HIGH'

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        sequence = np.random.SeedSequence((runner.seed or 0, runner.iter, get_rank()))
        torch.manual_seed(int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1)))
