"""One of two processes; started by ``tests/engine/test_balancing_runs.py``."""

import sys
from pathlib import Path

import torch
from torch.distributed import all_gather, destroy_process_group, init_process_group

sys.path.insert(0, str(Path(__file__).parent))
from balancing_utils import RANDOM, batch_of, distributed, make_toy, make_wrapper, specs, train


def main(out: str) -> None:
    """Train every method on half of each batch, and keep where it ends."""
    torch.set_num_threads(1)
    init_process_group('gloo')
    rank = torch.distributed.get_rank()
    found = {}
    for name, (balancer, options) in specs().items():
        if name.partition(',')[0] in RANDOM:
            continue
        model = make_toy(balancer)
        wrapper = make_wrapper(model, **options)
        part = slice(2 * rank, 2 * rank + 2)
        batches = [batch_of(step) for step in range(6)]
        end = train(model, wrapper, batches, part=part, wrapped=distributed(model))
        both = [torch.zeros_like(end) for _ in range(2)]
        all_gather(both, end)
        assert torch.equal(both[0].nan_to_num(), both[1].nan_to_num()), name
        found[name] = end
    if rank == 0:
        torch.save(found, out)
    torch.distributed.barrier()
    destroy_process_group()


if __name__ == '__main__':
    main(*sys.argv[1:])
