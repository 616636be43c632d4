"""Whole runs from the command line: resume after a kill, and two processes against one."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
CONFIG = 'configs/polymax/polymax_convnext-atto_1xb8-quickstart_rooms-96x128.py'
# Small enough for seconds; drop path, sampled losses and random flips stay on.
SMALL = {
    'train_dataloader.dataset.length': 24,
    'train_dataloader.dataset.size': '(64,96)',
    'train_dataloader.num_workers': 1,
    'train_dataloader.batch_size': 2,
    'val_dataloader.dataset.length': 4,
    'val_dataloader.dataset.size': '(64,96)',
    'model.heads.semseg.seg_loss.num_samples': 64,
    'model.heads.depth.decoder.drop_path': 0.2,
    'default_hooks.logger.interval': 1,
    'default_hooks.checkpoint.interval': 20,
    'train_cfg.max_iters': 40,
    'train_cfg.val_interval': 100,
}


def command(script, work_dir, tmp_path, *extra, **changes):
    """Command line of a small run with its cache below ``tmp_path``."""
    cache = str(tmp_path / 'cache')
    options = {
        **SMALL,
        'train_dataloader.dataset.cache_dir': cache,
        'val_dataloader.dataset.cache_dir': cache,
        'test_dataloader.dataset.cache_dir': cache,
        **changes,
    }
    pairs = [f'{key}={value}' for key, value in options.items()]
    return [*script, '--work-dir', str(work_dir), *extra, '--cfg-options', *pairs]


def environment():
    path = os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])
    return dict(os.environ, PYTHONPATH=path, OMP_NUM_THREADS='1')


def run(cmd):
    """Run to the end; the output is shown if it fails."""
    done = subprocess.run(
        cmd, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


def logged_losses(work_dir):
    """Iteration to its logged losses, over all log files of a work directory."""
    found = {}
    for path in sorted(Path(work_dir).glob('*/vis_data/scalars.json')):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            if 'loss' in row:
                found[row['iter']] = {k: v for k, v in row.items() if 'loss' in k}
    return found


@pytest.mark.slow
def test_killed_and_resumed_run_equals_the_uninterrupted_one_bit_for_bit(tmp_path):
    train = [sys.executable, '-W', 'ignore', 'tools/train.py', CONFIG]
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    run(command(train, whole, tmp_path))

    with open(tmp_path / 'killed.log', 'w') as log:
        process = subprocess.Popen(
            command(train, parts, tmp_path), cwd=ROOT, env=environment(),
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        deadline = time.monotonic() + 300
        while not (parts / 'last_checkpoint').exists():
            assert process.poll() is None, (tmp_path / 'killed.log').read_text()[-4000:]
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert not (parts / 'iter_40.pth').exists()
    run(command(train, parts, tmp_path, '--resume'))

    a, b = (torch.load(d / 'iter_40.pth', weights_only=False)['state_dict'] for d in (whole, parts))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[key], b[key]) for key in a)
    first, second = logged_losses(whole), logged_losses(parts)
    assert sorted(first) == list(range(1, 41))
    assert all(second[i] == first[i] for i in range(21, 41))


@pytest.mark.slow
def test_two_processes_draw_the_loss_curve_of_one_with_twice_the_batch(tmp_path):
    changes = {
        'model.heads.depth.decoder.drop_path': 0.0,
        # All pixels: a random choice would depend on how the batch is split.
        'model.heads.semseg.seg_loss.num_samples': 100_000,
        'custom_hooks': "[dict(type='NormEvalHook')]",
        'train_cfg.max_iters': 5,
        # Adam divides gradients by their size, which magnifies rounding at the first steps.
        'optim_wrapper.optimizer.lr': 1e-4,
    }
    one = [sys.executable, '-W', 'ignore', 'tools/train.py', CONFIG]
    two = ['bash', 'tools/dist_train.sh', CONFIG, '2']
    run(command(one, tmp_path / 'one', tmp_path, **changes, **{'train_dataloader.batch_size': 4}))
    run(command(two, tmp_path / 'two', tmp_path, **changes, **{'train_dataloader.batch_size': 2}))
    first, second = logged_losses(tmp_path / 'one'), logged_losses(tmp_path / 'two')
    assert sorted(first) == sorted(second) == [1, 2, 3, 4, 5]
    for i, losses in first.items():
        for name in ('loss', 'semseg.loss', 'depth.loss', 'normal.loss'):
            assert second[i][name] == pytest.approx(losses[name], rel=1e-4), (i, name)
