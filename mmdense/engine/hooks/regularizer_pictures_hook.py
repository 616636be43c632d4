"""Pictures of what regularizers see, during training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdense.models.regularizers import TriplaneRegularizer
from mmdense.models.regularizers.attach import feature_of
from mmdense.registry import HOOKS
from mmdense.visualization import save_picture
from mmdense.visualization.triplane import triplane_panel


@HOOKS.register_module()
class RegularizerPicturesHook(Hook):
    """Draws every triplane regularizer of the model at intervals.

    ``<work_dir>/panels/<name>_iter_<n>.png`` shows for the first picture of the batch each
    task's rendered map, the opacity and expected depth of its rays, the density along the
    middle row of the grid, and the norms of the planes. Depths are the middles of their bins,
    dropout is off. The training is not touched: no random number is drawn, no statistic
    moves. The main process draws.

    Args:
        interval (int): Iterations between pictures.
    """

    priority = 'LOW'

    def __init__(self, interval: int = 1000) -> None:
        if interval < 1:
            raise ValueError(f'RegularizerPicturesHook.interval is {interval}; give at least 1.')
        self.interval = interval

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict[str, torch.Tensor] | None = None,
    ) -> None:
        if not self.every_n_train_iters(runner, self.interval) or not is_main_process():
            return
        model = getattr(runner.model, 'module', runner.model)
        branches = [m for m in model.children() if isinstance(m, TriplaneRegularizer)]
        if not branches:
            return
        first = {key: value[:1] for key, value in data_batch.items()}
        inputs = model.data_preprocessor(first, False)['inputs']
        for branch in branches:
            feature = feature_of(model, branch.feature, inputs)
            found = branch.explain(feature, (inputs.shape[-2], inputs.shape[-1]))
            drawn = triplane_panel(
                _picture(first['inputs'][0]), branch.tasks, found.logits, found.details,
                found.planes, branch.plane_names, found.size,
            )  # fmt: skip
            name = f'{branch.name}_iter_{runner.iter + 1}.png'
            path = Path(runner.work_dir) / 'panels' / name
            save_picture(path, drawn)
            runner.visualizer.add_image(f'train/{branch.name}', drawn, runner.iter + 1)
            runner.logger.info(f'Panels: {path}')


def _picture(chw: torch.Tensor) -> np.ndarray:
    """A picture as it came from the pipeline, ``(H, W, 3)`` uint8; floats are stretched."""
    picture = chw.detach().float().permute(1, 2, 0).cpu().numpy()
    if chw.is_floating_point():
        low, high = picture.min(), picture.max()
        picture = 255 * (picture - low) / max(float(high - low), 1e-12)
    return np.ascontiguousarray(picture.clip(0, 255).astype(np.uint8))
