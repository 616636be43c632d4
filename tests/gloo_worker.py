"""One of two processes; started by ``test_conformance.py``."""

import sys
from pathlib import Path

import torch
from torch.distributed import destroy_process_group, init_process_group
from torch.nn.parallel import DistributedDataParallel

from mmdense.models.balancers import is_auxiliary

sys.path.insert(0, str(Path(__file__).parent))
from conformance_utils import make_model, random_batch

SIZES = ((64, 96), (64, 96))


def sample_everything(model: torch.nn.Module) -> None:
    """Losses on sampled pixels take all: a random choice would depend on the batch."""
    for module in model.modules():
        if hasattr(module, 'num_samples'):
            module.num_samples = 10**6


def steady(model: torch.nn.Module) -> torch.nn.Module:
    """Ready for losses that do not depend on how pictures are batched.

    Every part is in evaluation mode: no batch statistics, no dropout, no random depths. Only the
    model's own flag says training, which is what makes regularizers act.
    """
    sample_everything(model.eval())
    model.training = True
    return model


def total_of(model: torch.nn.Module, losses: dict[str, torch.Tensor]) -> torch.Tensor:
    """The balanced total without the logging, which is a collective of both processes."""
    final: dict[str, torch.Tensor] = {}
    aux: dict[str, torch.Tensor] = {}
    rest = torch.zeros(())
    for name, value in losses.items():
        if 'loss' not in name.rsplit('.', 1)[-1]:
            continue
        key, _, term = name.partition('.')
        if key not in model.tasks:
            rest = rest + value
            continue
        group = aux if is_auxiliary(term) else final
        group[key] = group[key] + value if key in group else value
    return model.balancer(final, aux)[0] + rest


def main(method: str, out: str) -> None:
    """Compare one backward pass over two pictures with two passes over one each."""
    torch.set_num_threads(1)
    init_process_group('gloo')
    rank = torch.distributed.get_rank()
    # Batch statistics would differ between one batch of two and two of one.
    model = steady(make_model(method))
    wrapped = DistributedDataParallel(model, find_unused_parameters=False)
    batch = random_batch(model, SIZES)
    own = {key: value[rank : rank + 1] for key, value in batch.items()}
    total, _ = model.parse_losses(wrapped(**model.data_preprocessor(own, True), mode='loss'))
    total.backward()
    together = {name: p.grad.clone() for name, p in model.named_parameters()}
    if rank == 0:
        plain = steady(make_model(method))
        losses = plain(**plain.data_preprocessor(random_batch(plain, SIZES), True), mode='loss')
        total_of(plain, losses).backward()
        pairs = {n: (p.grad, together[n]) for n, p in plain.named_parameters()}
        torch.save(pairs, out)
    torch.distributed.barrier()
    destroy_process_group()


if __name__ == '__main__':
    main(*sys.argv[1:])
