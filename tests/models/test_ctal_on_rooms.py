"""CTAL learns on rooms: finite losses that fall over 200 iterations."""

import math
import sys
from pathlib import Path

import pytest
from mmengine.hooks import Hook
from mmengine.runner import Runner

sys.path.insert(0, str(Path(__file__).parents[1]))
from conformance_utils import load_config


class Record(Hook):
    """Keeps the loss of every iteration."""

    def __init__(self):
        self.losses = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append(outputs['loss'].item())


@pytest.mark.slow
def test_losses_are_finite_and_fall_over_200_iterations(tmp_path):
    cfg = load_config('ctal-ss')
    cfg.work_dir = str(tmp_path)
    cfg.train_dataloader.update(batch_size=2, num_workers=0, persistent_workers=False)
    cfg.train_cfg.update(max_iters=200, val_interval=1000)
    for name in ('val', 'test'):
        for key in ('dataloader', 'cfg', 'evaluator'):
            cfg.pop(f'{name}_{key}', None)
    record = Record()
    runner = Runner.from_cfg(cfg)
    runner.register_hook(record)
    runner.train()
    assert len(record.losses) == 200 and all(map(math.isfinite, record.losses))
    assert sum(record.losses[150:]) < 0.8 * sum(record.losses[:50])
