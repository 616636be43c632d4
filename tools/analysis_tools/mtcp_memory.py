"""Peak memory of a training step of MT-CP's task part, by form of its attention.

::

    python tools/analysis_tools/mtcp_memory.py --grid 120 160 --tasks 3 --json

The task part is all that follows the shared map: decoders, pyramids, coherence fusion,
trace-back and the intermediate predictions. ``direct`` keeps all scores of the attention and
all activations; ``lean`` is what the configs of full size train with (``with_cp=True``); ``auto``
is the same attention without recomputation.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import multiprocessing
import sys
import time
from typing import Any

import torch

from mmdense.apis.benchmark import memory_status
from mmdense.models.necks import MTCPNeck
from mmdense.structures import DenseFeatures
from mmdense.utils.command_line import ToolParser

#: Form to the options of the neck.
FORMS: dict[str, dict[str, Any]] = dict(
    direct=dict(attention='direct'),
    chunked=dict(attention='chunked', with_cp=True),
    auto=dict(attention='auto'),
    lean=dict(attention='auto', with_cp=True),
)
_MIB = 2**20


def train_step(neck: MTCPNeck, shared: torch.Tensor) -> None:
    """Forward and backward pass, every output and loss counted."""
    feats = neck(DenseFeatures(shared=(shared,)))
    outputs = [*feats.per_task.values(), *(x for xs in feats.intermediate.values() for x in xs)]
    sum((x.square().mean() for x in outputs), sum(feats.losses.values())).backward()


def measure(send: Any, form: str, args: argparse.Namespace) -> None:
    """Send the peak in MiB beyond neck and shared map, and the seconds of a step."""
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    tasks = {f'task{i}': channels for i, channels in zip(range(args.tasks), (40, 1, 3) * 3)}
    neck = MTCPNeck(args.channels, tasks, **FORMS[form]).to(args.device)
    height, width = args.grid
    # Libraries and their buffers load at first use.
    train_step(neck, torch.randn(1, args.channels, 16, 16, device=args.device))
    neck.zero_grad(set_to_none=True)
    shared = torch.randn(args.batch, args.channels, height, width, device=args.device)
    if args.device.startswith('cuda'):
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated() / _MIB
    else:
        ctypes.CDLL(None).malloc_trim(0)
        with open('/proc/self/clear_refs', 'w') as file:
            file.write('5')  # `VmHWM` starts anew
        before = memory_status('VmRSS') / _MIB
    start = time.perf_counter()
    train_step(neck, shared.requires_grad_())
    if args.device.startswith('cuda'):
        torch.cuda.synchronize()
        peak = torch.cuda.max_memory_allocated() / _MIB
    else:
        peak = memory_status('VmHWM') / _MIB
    send.send((peak - before, time.perf_counter() - start))


def in_own_process(form: str, args: argparse.Namespace) -> tuple[float, float]:
    """Peak and seconds of a form, in a process that has done nothing else."""
    context = multiprocessing.get_context('spawn')
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=measure, args=(send, form, args))
    process.start()
    send.close()
    found: tuple[float, float] = receive.recv()
    process.join()
    return found


def main(argv: list[str] | None = None) -> int:
    """Read the command line, measure, print."""
    parser = ToolParser(__doc__)
    parser.add_argument('--grid', type=int, nargs=2, default=(120, 160), metavar=('H', 'W'))
    parser.add_argument('--tasks', type=int, default=3)
    parser.add_argument('--channels', type=int, default=256)
    parser.add_argument('--batch', type=int, default=1)
    parser.add_argument('--forms', nargs='+', choices=FORMS, default=['direct', 'lean'])
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--json', action='store_true', help='print JSON')
    args = parser.parse_args(argv)
    rows = []
    for form in args.forms:
        peak, seconds = in_own_process(form, args)
        share = peak / rows[0]['peak_mib'] if rows else 1.0
        rows.append(dict(form=form, peak_mib=peak, seconds=seconds, share=share))
        if not args.json:
            print(f'{form:8} {peak:8.0f} MiB {share:7.1%} {seconds:8.1f} s', flush=True)
    if args.json:
        print(json.dumps(dict(settings=vars(args), rows=rows), indent=2))
    return 0


if __name__ == '__main__':
    sys.exit(main())
