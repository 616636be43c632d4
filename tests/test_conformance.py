"""The menu that one small config of every method goes through."""

import copy
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from conformance_utils import METHODS, ROOT, loss_of, make_model, random_batch, random_inputs

SIZES = ((64, 96), (64, 96))

#: Share their parts with another method of the menu; the fast tests take the others.
RELATIVES = (
    'cross-stitch', 'ctal-ms', 'mtan', 'mti-net', 'nddr-cnn', 'pad-net', 'pap-net', 'triplane',
)  # fmt: skip
pytestmark = pytest.mark.parametrize(
    'method',
    [pytest.param(m, marks=pytest.mark.slow) if m in RELATIVES else m for m in METHODS],
)


def test_forward_and_backward_reach_every_parameter(method):
    model = make_model(method).train()
    total, logged = loss_of(model, random_batch(model, SIZES))
    total.backward()
    without = [name for name, p in model.named_parameters() if p.grad is None]
    assert not without
    assert all(p.grad.isfinite().all() for p in model.parameters())
    assert all(torch.isfinite(v) for v in logged.values())


def test_a_few_steps_on_one_batch_lower_the_loss(method):
    model = make_model(method).train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    batch = random_batch(model, SIZES)
    first = None
    for _ in range(5):
        total, _ = loss_of(model, copy.deepcopy(batch))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        first = first or total.item()
    assert total.item() < first


@pytest.mark.parametrize('sizes', [((65, 97),) * 2, ((61, 90),) * 2, ((64, 96), (50, 71))], ids=str)
def test_odd_and_mixed_sizes(method, sizes):
    model = make_model(method)
    total, _ = loss_of(model.train(), random_batch(model, sizes))
    assert torch.isfinite(total)
    with torch.no_grad():
        samples = model.eval().test_step(random_batch(model, sizes))
    for sample, size in zip(samples, sizes):
        for task in model.tasks.values():
            assert sample.pred(task).shape == (task.gt_channels, *size)


def test_batch_of_one(method):
    model = make_model(method)
    total, _ = loss_of(model.train(), random_batch(model, SIZES[:1]))
    total.backward()
    assert torch.isfinite(total)


def test_missing_tasks_leave_finite_losses_and_all_gradients(method):
    model = make_model(method).train()
    first = next(iter(model.tasks))
    lacking = {(0, key) for key in model.tasks} | {(1, first)}
    total, logged = loss_of(model, random_batch(model, SIZES, lacking))
    total.backward()
    assert logged[f'{first}.labelled'] == 0
    # One part of an auxiliary term may still count for pictures without labels; nothing may
    # be infinite, and no parameter may drop out of the graph (ranks stay in step).
    assert all(torch.isfinite(v) for v in logged.values())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_unlabelled_picture_does_not_change_the_loss_of_the_task(method):
    model = make_model(method).eval()
    key = list(model.tasks)[-1]
    sizes = SIZES[:1] * 2
    alone, _ = model.parse_losses(_losses(model, random_batch(model, sizes[:1])))
    _, logged = model.parse_losses(_losses(model, random_batch(model, sizes, {(1, key)})))
    _, single = model.parse_losses(_losses(model, random_batch(model, sizes[:1])))
    assert torch.isclose(logged[f'{key}.loss'], single[f'{key}.loss'], rtol=1e-4)
    assert torch.isfinite(alone)


def _losses(model, batch):
    data = model.data_preprocessor(batch, training=True)
    return model(**data, mode='loss')


def test_save_and_load(method, tmp_path):
    one, two = make_model(method, seed=0).eval(), make_model(method, seed=1).eval()
    x = random_inputs(one, 1)
    torch.save(one.state_dict(), tmp_path / 'm.pth')
    two.load_state_dict(torch.load(tmp_path / 'm.pth'))
    with torch.no_grad():
        a, b = one.predict_maps(x), two.predict_maps(x)
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_bf16_autocast_trains_and_stays_close(method):
    model = make_model(method)
    batch = random_batch(model, SIZES)
    plain, _ = loss_of(model.train(), copy.deepcopy(batch))
    with torch.autocast('cpu', torch.bfloat16):
        total, _ = loss_of(model, copy.deepcopy(batch))
    total.backward()
    assert torch.isclose(total.float(), plain, rtol=0.1)
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_predictions_do_not_depend_on_the_rest_of_the_batch(method):
    model = make_model(method).eval()
    x = random_inputs(model, 2)
    with torch.no_grad():
        both, single = model.predict_maps(x), model.predict_maps(x[:1])
    for key in both:
        assert torch.allclose(both[key][:1], single[key], atol=1e-4)


@pytest.mark.slow
def test_compiled_graph_gives_the_same_predictions(method):
    model = make_model(method).eval()
    x = random_inputs(model, 1)
    compiled = torch.compile(model.predict_maps, backend='aot_eager', dynamic=False)
    with torch.no_grad():
        expected, found = model.predict_maps(x), compiled(x)
    for key in expected:
        assert torch.allclose(found[key], expected[key], atol=1e-4)


@pytest.mark.slow
def test_exported_program_gives_the_same_predictions(method):
    model = make_model(method).eval()
    x = random_inputs(model, 1)
    with torch.no_grad():
        program = torch.export.export(_Maps(model), (x,))
        expected, found = model.predict_maps(x), program.module()(x)
    for key in expected:
        assert torch.allclose(found[key], expected[key], atol=1e-4)


class _Maps(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model.predict_maps(x)


@pytest.mark.slow
def test_two_gloo_processes_agree_with_one(method, tmp_path):
    """Gradients of two processes with one picture each equal those of one with both."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    script = Path(__file__).parent / 'gloo_worker.py'
    env = dict(os.environ, MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port), WORLD_SIZE='2')
    env['PYTHONPATH'] = os.pathsep.join([str(ROOT), env.get('PYTHONPATH', '')])
    command = [sys.executable, str(script), method, str(tmp_path / 'grads.pth')]
    workers = [
        subprocess.Popen(command, env=dict(env, RANK=str(rank), LOCAL_RANK=str(rank)))
        for rank in range(2)
    ]
    assert [w.wait(timeout=300) for w in workers] == [0, 0]
    found = torch.load(tmp_path / 'grads.pth')
    for name, (alone, together) in found.items():
        assert torch.allclose(alone, together, atol=2e-5, rtol=1e-3), name
