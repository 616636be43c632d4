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
QUICKSTART = 'configs/polymax/polymax_convnext-atto_1xb8-quickstart_rooms-96x128.py'
# Small enough for seconds; drop path, sampled losses and random flips stay on.
SMALL = """
_base_ = '{base}'
randomness = dict(seed=3)
data = dict(size=(64, 96), cache_dir='{cache}')
train_dataloader = dict(batch_size={batch}, num_workers=1, dataset=dict(length=24, **data))
val_dataloader = dict(num_workers=1, dataset=dict(length=4, **data))
model = dict(heads=dict(
    semseg=dict(seg_loss=dict(num_samples={samples})),
    depth=dict(decoder=dict(drop_path={drop_path}))))
optim_wrapper = dict(optimizer=dict(lr={lr}))
train_cfg = dict(max_iters={iters}, val_interval=100)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=20))
custom_hooks = {hooks}
"""
RESUME = dict(batch=2, samples=64, drop_path=0.2, lr=1e-3, iters=40, hooks=[])
# All pixels and no drop path: random choices would depend on how the batch is split. Adam
# divides gradients by their size, which magnifies rounding, so the rate is low.
SPLIT = dict(
    samples=100_000, drop_path=0.0, lr=1e-4, iters=5, hooks=[dict(type='NormEvalHook')]
)  # fmt: skip


def write_config(path, cache, **values):
    """A small version of the quick start."""
    path.write_text(SMALL.format(base=ROOT / QUICKSTART, cache=cache, **values))
    return str(path)


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
    config = write_config(tmp_path / 'resume.py', tmp_path / 'cache', **RESUME)
    train = [sys.executable, '-W', 'ignore', 'tools/train.py', config, '--work-dir']
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    run([*train, str(whole)])

    with open(tmp_path / 'killed.log', 'w') as log:
        process = subprocess.Popen(
            [*train, str(parts)], cwd=ROOT, env=environment(), stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
        deadline = time.monotonic() + 900
        try:
            while not (parts / 'last_checkpoint').exists():
                assert process.poll() is None, (tmp_path / 'killed.log').read_text()[-4000:]
                assert time.monotonic() < deadline
                time.sleep(0.01)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert not (parts / 'iter_40.pth').exists()
    run([*train, str(parts), '--resume'])

    a, b = (torch.load(d / 'iter_40.pth', weights_only=False)['state_dict'] for d in (whole, parts))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[key], b[key]) for key in a)
    first, second = logged_losses(whole), logged_losses(parts)
    assert sorted(first) == list(range(1, 41))
    assert all(second[i] == first[i] for i in range(21, 41))


@pytest.mark.slow
def test_two_processes_draw_the_loss_curve_of_one_with_twice_the_batch(tmp_path):
    cache = tmp_path / 'cache'
    one = write_config(tmp_path / 'one.py', cache, batch=4, **SPLIT)
    two = write_config(tmp_path / 'two.py', cache, batch=2, **SPLIT)
    run([sys.executable, '-W', 'ignore', 'tools/train.py', one, '--work-dir', tmp_path / 'one'])
    run(['bash', 'tools/dist_train.sh', two, '2', '--work-dir', tmp_path / 'two'])
    first, second = logged_losses(tmp_path / 'one'), logged_losses(tmp_path / 'two')
    assert sorted(first) == sorted(second) == [1, 2, 3, 4, 5]
    for i, losses in first.items():
        for name in ('loss', 'semseg.loss', 'depth.loss', 'normal.loss'):
            assert second[i][name] == pytest.approx(losses[name], rel=1e-4), (i, name)
