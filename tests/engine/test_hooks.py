from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmdense.datasets.samplers import SeededIndex, SeededInfiniteSampler
from mmdense.engine.hooks import FiniteLossHook, IterationSeedHook, NormEvalHook
from mmdense.engine.schedulers import WarmupPolyLR
from mmdense.utils.files import atomic_write_bytes


def test_nan_loss_names_task_and_iteration():
    runner = SimpleNamespace(iter=41)
    outputs = {'loss': torch.tensor(1.0), 'depth.loss': torch.tensor(float('nan'))}
    with pytest.raises(FloatingPointError, match=r'Iteration 42.*depth\.loss'):
        FiniteLossHook().after_train_iter(runner, 0, outputs=outputs)
    FiniteLossHook().after_train_iter(runner, 0, outputs={'loss': torch.tensor(1.0)})


def test_draws_of_an_iteration_do_not_depend_on_what_came_before():
    hook = IterationSeedHook()
    draws = []
    for before in (0, 7):
        torch.rand(before)
        hook.before_train_iter(SimpleNamespace(seed=3, iter=11), 0)
        draws.append(torch.rand(4))
    assert torch.equal(*draws)
    hook.before_train_iter(SimpleNamespace(seed=3, iter=12), 0)
    assert not torch.equal(torch.rand(4), draws[0])


def test_norm_eval_hook_freezes_statistics():
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4)).train()
    NormEvalHook().before_train_iter(SimpleNamespace(model=model), 0)
    model(torch.randn(2, 3, 4, 4))
    assert torch.equal(model[1].running_mean, torch.zeros(4))
    assert model[0].training


@pytest.mark.parametrize(('warmup', 'total'), [(5, 40), (0, 10)])
def test_schedule_is_linear_then_poly_on_the_global_step(warmup, total):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    scheduler = WarmupPolyLR(optimizer, total=total, warmup=warmup, power=0.9)
    for step in range(total):
        expected = step / warmup if step < warmup else (1 - step / total) ** 0.9
        assert optimizer.param_groups[0]['lr'] == pytest.approx(2 * expected)
        optimizer.step()
        scheduler.step()
    assert optimizer.param_groups[0]['lr'] == 0
    with pytest.raises(ValueError, match='warmup=40'):
        WarmupPolyLR(optimizer, total=40, warmup=40)


def test_schedule_that_a_runner_would_end_after_one_epoch_is_refused():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    with pytest.raises(ValueError, match='by_epoch=False'):
        WarmupPolyLR(optimizer, total=40, warmup=4, end=1)


def test_sample_stream_does_not_depend_on_the_number_of_processes():
    def stream(rank, world, count):
        sampler = SeededInfiniteSampler(range(10), seed=5)
        sampler.rank, sampler.world_size = rank, world
        sampler.indices = sampler._indices_of_rank()
        found = iter(sampler)
        return [next(found) for _ in range(count)]

    one = stream(0, 1, 24)
    two = [x for pair in zip(stream(0, 2, 12), stream(1, 2, 12)) for x in pair]
    assert one == two
    assert [x.position for x in one] == [x.position for x in two] == list(range(24))
    a, b = (x.generator().random(3) for x in (one[7], two[7]))
    assert np.array_equal(a, b)


def test_samples_of_a_group_stay_together_in_one_process():
    def stream(rank, world, count, group=2):
        sampler = SeededInfiniteSampler(range(14), seed=5, group=group)
        sampler.rank, sampler.world_size = rank, world
        sampler.indices = sampler._indices_of_rank()
        found = iter(sampler)
        return [next(found) for _ in range(count)]

    one = stream(0, 1, 28)
    assert all(a % 2 == 0 and b == a + 1 for a, b in zip(one[::2], one[1::2]))
    assert sorted(one[:14]) == sorted(one[14:]) == list(range(14))
    assert one[:14] not in (one[14:], list(range(14)))
    ranks = [stream(rank, 2, 14) for rank in (0, 1)]
    joined = [x for k in range(0, 14, 2) for own in ranks for x in own[k : k + 2]]
    assert joined == one
    assert [x.position for x in joined] == list(range(28))
    # A group of one is the order that runs have always had.
    whole = torch.randperm(14, generator=torch.Generator().manual_seed(5)).tolist()
    assert stream(0, 1, 14, group=1) == whole
    with pytest.raises(ValueError, match='group is 3 for a data set of 14'):
        SeededInfiniteSampler(range(14), seed=5, group=3)


def test_seeded_index_survives_pickling():
    import pickle

    index = pickle.loads(pickle.dumps(SeededIndex(4, seed=1, position=9)))
    assert (index, index.seed, index.position) == (4, 1, 9)
    assert [10, 20, 30, 40, 50][index] == 50


def test_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / 'a.bin'
    atomic_write_bytes(path, b'old')
    with pytest.raises(TypeError):
        atomic_write_bytes(path, 'text')
    assert path.read_bytes() == b'old'
    assert list(tmp_path.iterdir()) == [path]
