"""Batch norms that keep their statistics while the rest trains."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.nn.modules.batchnorm import _BatchNorm

from mmdense.registry import HOOKS


@HOOKS.register_module()
class NormEvalHook(Hook):
    """Puts every batch norm in evaluation mode before each training step.

    For fine-tuning with batches too small for batch statistics, and where two runs with
    different splits of one batch must agree. The affine parameters still train.
    """

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        for module in runner.model.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
