"""Every balancer and aggregator in whole runs: two processes, a kill, missing tasks."""

import copy
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import Dataset

sys.path.insert(0, str(Path(__file__).parents[1]))
from balancing_utils import (
    AGGREGATOR_CFGS,
    BALANCER_CFGS,
    RANDOM,
    batch_of,
    flat,
    make_toy,
    make_wrapper,
    specs,
    train,
)

from mmdense.registry import DATASETS, HOOKS

TESTS = Path(__file__).parents[1]
QUICK = ('LossPrioritization', 'GradNorm')
FORKS = pytest.mark.skipif(torch.cuda.is_available(), reason='CUDA cannot be forked')


@DATASETS.register_module(force=True)
class ToyData(Dataset):
    """Samples of :func:`batch_of`, two per batch."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        batch = batch_of(index // 2, size=2)
        return {key: value[index % 2] for key, value in batch.items()}


@HOOKS.register_module(force=True)
class KillHook(Hook):
    """Ends the process without warning."""

    def __init__(self, at):
        self.at = at

    def after_train_iter(self, runner, *args, **kwargs):
        if runner.iter + 1 == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


def run(work_dir, balancer, options, resume=False, kill=None, by_epoch=False, hooks=(), **changes):
    """Train from the configs; the model at the end."""
    torch.manual_seed(0)
    balancer = dict(balancer or dict(type='FixedWeights'))
    if not by_epoch:
        balancer['interval'] = 4
    kind = dict(type='JacobianOptimWrapper') if 'aggregator' in options else {}
    optimizer = dict(type='SGD', lr=1e-3, momentum=0.9, weight_decay=1e-2)
    cfg = dict(
        default_scope='mmdense',
        experiment_name=f'{Path(work_dir).name}_{resume}',
        model=dict(type='BalancedToyModel', balancer=balancer),
        work_dir=str(work_dir),
        train_dataloader=dict(
            dataset=dict(type='ToyData'),
            batch_size=2,
            collate_fn=dict(type='default_collate'),
            sampler=dict(type='DefaultSampler' if by_epoch else 'InfiniteSampler', shuffle=False),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=6)
        if by_epoch
        else dict(type='IterBasedTrainLoop', max_iters=24),
        optim_wrapper=dict(optimizer=optimizer, **kind, **copy.deepcopy(options)),
        param_scheduler=dict(type='PolyLR', eta_min=1e-4, end=24, by_epoch=False),
        default_hooks=dict(
            balancer=dict(type='BalancerHook'),
            iteration_seed=dict(type='IterationSeedHook'),
            checkpoint=dict(
                type='CheckpointHook', interval=3 if by_epoch else 6, by_epoch=by_epoch
            ),
            logger=dict(type='LoggerHook', interval=100),
        ),
        custom_hooks=[*hooks, *([dict(type='KillHook', at=kill)] if kill else [])],
        resume=resume,
        randomness=dict(seed=0),
        log_level='ERROR',
    )
    runner = Runner.from_cfg(Config({**cfg, **changes}))
    runner.train()
    return runner


def run_and_kill(*args, **kwargs):
    """A run in a process of its own, which ends by SIGKILL."""

    def alone():
        # Threads of OpenMP do not survive the fork.
        torch.set_num_threads(1)
        run(*args, **kwargs)

    process = multiprocessing.get_context('fork').Process(target=alone)
    process.start()
    process.join(timeout=300)
    assert process.exitcode == -signal.SIGKILL


@FORKS
@pytest.mark.parametrize(
    'name',
    [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in specs()],
)
def test_killed_and_resumed_run_equals_the_uninterrupted_one_bit_for_bit(name, tmp_path):
    """Also with checkpoints in the middle of an epoch; every other batch lacks a task."""
    balancer, options = specs()[name]
    compare(tmp_path, balancer, options, kill=15)


def compare(tmp_path, balancer, options, **kwargs):
    whole = flat(run(tmp_path / 'whole', balancer, options, **kwargs | dict(kill=None)).model)
    run_and_kill(tmp_path / 'parts', balancer, options, **kwargs)
    parts = run(tmp_path / 'parts', balancer, options, resume=True, **kwargs | dict(kill=None))
    assert whole.nan_to_num().isfinite().all()
    assert torch.equal(whole.nan_to_num(-1), flat(parts.model).nan_to_num(-1))


@FORKS
def test_six_epochs_are_three_and_three_in_every_bit(tmp_path):
    balancer = dict(type='LossPrioritization', history=2)
    compare(tmp_path, balancer, {}, by_epoch=True, kill=14)


@pytest.mark.parametrize('name', [*BALANCER_CFGS, *AGGREGATOR_CFGS])
def test_a_task_missing_in_every_other_batch_trains_on(name):
    balancer, options = specs()[name]
    model = make_toy(balancer)
    batches = [batch_of(step) for step in range(8)]
    before = [p.detach().clone() for p in model.heads['c'].parameters()]
    train(model, make_wrapper(model, **options), batches)
    assert all(p.isfinite().all() for p in model.parameters())
    assert not torch.equal(before[0], model.heads['c'].weight)


@pytest.mark.slow
def test_two_processes_end_where_one_with_the_joined_batch_does(tmp_path):
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    env = dict(os.environ, MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port), WORLD_SIZE='2')
    env['PYTHONPATH'] = os.pathsep.join([str(TESTS.parent), env.get('PYTHONPATH', '')])
    command = [sys.executable, str(TESTS / 'balancer_worker.py'), str(tmp_path / 'ends.pth')]
    workers = [
        subprocess.Popen(command, env=dict(env, RANK=str(rank), LOCAL_RANK=str(rank)))
        for rank in range(2)
    ]
    assert [w.wait(timeout=300) for w in workers] == [0, 0]
    found = torch.load(tmp_path / 'ends.pth')
    assert len(found) == len(specs()) - len(RANDOM)
    start = flat(make_toy())
    for name, end in found.items():
        balancer, options = specs()[name]
        model = make_toy(balancer)
        batches = [batch_of(step) for step in range(6)]
        alone = train(model, make_wrapper(model, **options), batches)
        assert torch.allclose(alone.nan_to_num(), end.nan_to_num(), rtol=1e-5, atol=1e-5), name
        # It is a test of something: parameters move by more than they may differ.
        moved = (alone[: len(start)] - start[: len(alone)]).nan_to_num().abs().max()
        assert moved > 1e-3, name
