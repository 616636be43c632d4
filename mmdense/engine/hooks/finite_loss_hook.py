"""Stops a run whose losses are no numbers any more."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdense.registry import HOOKS


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Raises as soon as a logged loss is NaN or infinite, naming task and iteration.

    One comparison per check, so at most one wait for the device. Checkpoints are not
    written after the bad step: the run resumes from the last good one.

    Args:
        interval (int): Iterations between checks. Defaults to 1.
    """

    priority = 'VERY_HIGH'

    def __init__(self, interval: int = 1) -> None:
        self.interval = interval

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict[str, torch.Tensor] | None = None,
    ) -> None:
        """Check the losses of this step.

        Raises:
            FloatingPointError: If one is not finite.
        """
        if not outputs or not self.every_n_train_iters(runner, self.interval):
            return
        names = [name for name, value in outputs.items() if isinstance(value, torch.Tensor)]
        finite = torch.stack([outputs[name].float().mean() for name in names]).isfinite()
        if finite.all():
            return
        bad = [name for name, good in zip(names, finite.tolist()) if not good]
        raise FloatingPointError(
            f'Iteration {runner.iter + 1}: the loss is not finite in {", ".join(bad)}. Usual '
            'causes: a learning rate that is too high, fp16 without bf16, or damaged ground '
            'truth. Resume from the last checkpoint with a lower rate '
            '(--resume --cfg-options optim_wrapper.optimizer.lr=...).'
        )
