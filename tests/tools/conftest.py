import logging
import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent

TOY_CONFIG = """
custom_imports = dict(imports=['toy_parts'])
default_scope = 'mmdense'
model = dict(type='ToyModel', width=3)
train_dataloader = dict(batch_size=2, num_workers=0, dataset=dict(type='ToyDataset'),
                        collate_fn=dict(type='default_collate'),
                        sampler=dict(type='DefaultSampler', shuffle=True))
test_dataloader = dict(batch_size=2, num_workers=0, dataset=dict(type='ToyDataset'),
                       collate_fn=dict(type='default_collate'),
                       sampler=dict(type='DefaultSampler', shuffle=False))
test_cfg = dict(type='TestLoop')
test_evaluator = dict(type='ToyMetric')
train_cfg = dict(type='IterBasedTrainLoop', max_iters=2)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))
default_hooks = dict(checkpoint=dict(type='CheckpointHook', interval=1, by_epoch=False))
randomness = dict(seed=1)
"""


@pytest.fixture
def toy_config(tmp_path, monkeypatch):
    """Path of a config that trains in milliseconds; the current folder is a fresh one."""
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.chdir(tmp_path)
    # Loggers of earlier runs in this process still hold streams that pytest has closed.
    monkeypatch.setattr(logging, 'raiseExceptions', False)
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join([str(HERE), str(HERE.parents[1]), *sys.path]))
    path = tmp_path / 'toy.py'
    path.write_text(TOY_CONFIG)
    return path
