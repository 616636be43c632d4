"""Optimizers that deal their state out to the processes, over two processes."""

import time

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmengine.optim import OptimWrapper, ZeroRedundancyOptimizer

from mmdense.engine.optim_wrappers.sharded_state import gathered_state


def work(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group('gloo', f'file://{folder}/rendezvous', rank=rank, world_size=2)
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    wrapper = OptimWrapper(ZeroRedundancyOptimizer(model.parameters(), 'Adam', lr=0.1))
    for _ in range(2):
        wrapper.update_params(model(torch.ones(2, 3)).square().mean())
    with gathered_state(wrapper):
        if rank == 0:  # alone, as mmengine does it
            torch.save(wrapper.state_dict(), f'{folder}/saved.pth')
    assert 'consolidate_state_dict' not in vars(wrapper.optimizer)
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.slow
def test_process_0_saves_the_state_of_both_without_waiting_for_ever(tmp_path):
    """A training with ZeroRedundancyOptimizer stood still at its first checkpoint."""
    # Forked: nothing is imported again.
    context = mp.start_processes(work, (str(tmp_path),), 2, join=False, start_method='fork')
    deadline = time.monotonic() + 300
    while not context.join(timeout=5):  # True once all processes have ended
        assert time.monotonic() < deadline, 'the processes wait for each other'
    state = torch.load(tmp_path / 'saved.pth', weights_only=False)
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.ones(2, 3)).square().mean().backward()
        optimizer.step()
    plain = optimizer.state_dict()['state']
    assert set(state['state']) == set(plain) == {0, 1, 2, 3}
    for key, entry in plain.items():
        torch.testing.assert_close(state['state'][key]['exp_avg_sq'], entry['exp_avg_sq'])


def test_other_optimizers_are_left_alone():
    layer = torch.nn.Linear(1, 1)
    wrapper = OptimWrapper(torch.optim.SGD(layer.parameters(), 0.1))
    with gathered_state(wrapper):
        assert wrapper.state_dict()['param_groups'][0]['lr'] == 0.1
