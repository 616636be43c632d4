"""Checkpoints of which one whole one always exists."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import is_main_process, master_only
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from mmdense.engine.optim_wrappers.sharded_state import gathered_state
from mmdense.models.regularizers.train_only import strip_checkpoint
from mmdense.registry import HOOKS
from mmdense.utils.checkpoints import save_under_digest
from mmdense.utils.files import atomic_write_text


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook``, safe against a kill at any moment.

    mmengine writes a checkpoint straight to its final name and, with
    ``max_keep_ckpts``, removes the old one before it writes the new one. Here a
    checkpoint appears under its name when it is whole, then ``last_checkpoint`` points
    to it, then the outdated ones go. Arguments as in ``CheckpointHook``; checkpoints on
    the local disk only get this treatment, ``backend_args`` for other storage is passed
    on as it is. State that ``ZeroRedundancyOptimizer`` deals out to the processes is gathered
    ahead. Files that ``published_keys`` asks for have no weights of training-only parts.
    """

    def __init__(self, *args: Any, backend_args: dict[str, Any] | None = None, **kwargs: Any):
        super().__init__(*args, backend_args=backend_args or dict(backend='atomic'), **kwargs)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, Any]) -> None:
        outdated: list[int] = []
        if self.max_keep_ckpts > 0 and step not in self.keep_ckpt_ids:
            kept = [*self.keep_ckpt_ids, step]
            outdated = kept[: -self.max_keep_ckpts]
            self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        with gathered_state(runner.optim_wrapper) if self.save_optimizer else nullcontext():
            runner.save_checkpoint(
                self.out_dir,
                name,
                self.file_client_args,
                save_optimizer=self.save_optimizer,
                save_param_scheduler=self.save_param_scheduler,
                meta=meta,
                by_epoch=self.by_epoch,
                backend_args=self.backend_args,
                **self.args,
            )
        if not is_main_process():
            return
        atomic_write_text(Path(runner.work_dir) / 'last_checkpoint', str(self.last_ckpt))
        for old in outdated:
            path = self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(old))
            if self.file_backend.isfile(path):
                self.file_backend.remove(path)

    @master_only
    def _publish_model(self, runner: Runner, ckpt_path: str) -> None:
        """Write the published keys of a checkpoint, named after their content."""
        # Written a moment ago by this very run.
        checkpoint = torch.load(ckpt_path, map_location='cpu', weights_only=False)
        wanted = self.published_keys or ()
        kept = {k: v for k, v in strip_checkpoint(checkpoint).items() if k in wanted}
        path = save_under_digest(kept, ckpt_path.removesuffix('.pth'))
        runner.logger.info(f'The checkpoint ({ckpt_path}) is published to {path}.')
