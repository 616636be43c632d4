"""What a core is, and how its forms are measured against each other."""

from __future__ import annotations

import argparse
import ctypes
import math
import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from mmdense.apis.benchmark import in_own_process, memory_status

_MIB = 2**20
#: Name to core; a subclass of :class:`Core` enters itself.
CORES: dict[str, Core] = {}


class Core(ABC):
    """A function in several forms that give the same numbers at different costs.

    A subclass names itself and its forms, makes operands, and runs a form; everything else is
    here. Defining it puts it into :data:`CORES`, and on the command line of
    ``tools/analysis_tools/benchmark.py --core NAME``.

    Attributes:
        name (str): Name on the command line.
        forms (tuple[str, ...]): Names of the forms; the others are compared with the first.
        measured (tuple[str, ...]): Forms that are measured unless others are asked for.
        growing (tuple[str, ...]): Forms measured over the series of sizes unless others are
            asked for.
    """

    name: ClassVar[str]
    forms: ClassVar[tuple[str, ...]]
    measured: ClassVar[tuple[str, ...]]
    growing: ClassVar[tuple[str, ...]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        CORES[cls.name] = cls()

    @abstractmethod
    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Options of the size of the problem, with defaults."""

    @abstractmethod
    def operands(self, options: argparse.Namespace) -> list[Tensor]:
        """Random operands on the CPU; those of floating point get gradients."""

    @abstractmethod
    def run(self, form: str, operands: list[Tensor], options: argparse.Namespace) -> Tensor:
        """The result of a form."""

    @abstractmethod
    def describe(self, options: argparse.Namespace) -> str:
        """The problem in a few words."""

    @abstractmethod
    def series(self, options: argparse.Namespace) -> list[argparse.Namespace]:
        """The problem in growing sizes."""

    @abstractmethod
    def size(self, options: argparse.Namespace) -> int:
        """What grows over the series."""


@dataclass(frozen=True)
class CoreSettings:
    """How to measure.

    Args:
        steps (int): Timed calls, of which the median counts.
        warmup (int): Calls before them.
        threads (int): Threads of PyTorch.
        device (str): Such as ``'cpu'`` or ``'cuda'``.
        memory (bool): Whether to measure peak memory.
    """

    steps: int = 3
    warmup: int = 1
    threads: int = 1
    device: str = 'cpu'
    memory: bool = True


@dataclass(frozen=True)
class CoreRow:
    """One form at one size.

    Args:
        form (str): Its name.
        size (int): As the core counts it.
        forward_ms (float): Median time of a forward pass without gradients.
        step_ms (float): Median time of a forward and backward pass.
        forward_mib (float | None): Rise of the peak memory over a forward pass without gradients.
        step_mib (float | None): The same over a forward and backward pass.
        difference (float | None): Largest difference of output and gradients from the first
            form, each against its largest value; None without that form.
    """

    form: str
    size: int
    forward_ms: float
    step_ms: float
    forward_mib: float | None = None
    step_mib: float | None = None
    difference: float | None = None


def measure_core(
    core: Core, options: argparse.Namespace, forms: Sequence[str], settings: CoreSettings
) -> list[CoreRow]:
    """Measure forms in turns, so that what else runs on the machine meets all of them.

    Args:
        core (Core): What.
        options (argparse.Namespace): At which size.
        forms (Sequence[str]): Names of forms.
        settings (CoreSettings): How.
    """
    torch.set_num_threads(settings.threads)
    operands = _operands(core, options, settings.device)
    calls: dict[tuple[str, bool], Callable[[], object]] = {}
    for form in forms:
        calls[form, False] = _forward(core, form, operands, options)
        calls[form, True] = _step(core, form, operands, options)
    spent: dict[tuple[str, bool], list[float]] = {key: [] for key in calls}
    for index in range(settings.warmup + settings.steps):
        for key, call in calls.items():
            seconds = _seconds(call, settings)
            if index >= settings.warmup:
                spent[key].append(1000 * seconds)
    differences = _differences(core, operands, options, forms)
    rows = []
    for form in forms:
        rows.append(
            CoreRow(
                form=form,
                size=core.size(options),
                forward_ms=statistics.median(spent[form, False]),
                step_ms=statistics.median(spent[form, True]),
                forward_mib=_peak(core, form, options, settings, False),
                step_mib=_peak(core, form, options, settings, True),
                difference=differences.get(form),
            )
        )
    return rows


def slope(rows: Sequence[CoreRow]) -> float:
    """Of log time of a forward and backward pass against log size, by least squares."""
    sizes, times = [row.size for row in rows], [row.step_ms for row in rows]
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def _operands(core: Core, options: argparse.Namespace, device: str) -> list[Tensor]:
    torch.manual_seed(0)
    moved = [tensor.to(device) for tensor in core.operands(options)]
    return [tensor.requires_grad_(tensor.is_floating_point()) for tensor in moved]


def _forward(
    core: Core, form: str, operands: list[Tensor], options: argparse.Namespace
) -> Callable[[], Tensor]:
    @torch.no_grad()
    def call() -> Tensor:
        return core.run(form, operands, options)

    return call


def _step(
    core: Core, form: str, operands: list[Tensor], options: argparse.Namespace
) -> Callable[[], list[Tensor]]:
    def call() -> list[Tensor]:
        out = core.run(form, operands, options)
        # A gradient that differs from place to place, and the same for all forms.
        incoming = torch.linspace(-1, 1, out.numel(), dtype=out.dtype, device=out.device)
        leaves = [tensor for tensor in operands if tensor.requires_grad]
        gradients = torch.autograd.grad(out, leaves, incoming.view(out.shape))
        return [out.detach(), *gradients]

    return call


def _differences(
    core: Core, operands: list[Tensor], options: argparse.Namespace, forms: Sequence[str]
) -> dict[str, float]:
    if core.forms[0] not in forms:
        return {}
    expected = _step(core, core.forms[0], operands, options)()
    found = {}
    for form in forms:
        pairs = zip(_step(core, form, operands, options)(), expected)
        errors = [((a - b).abs().max() / b.abs().max()).item() for a, b in pairs]
        found[form] = math.nan if any(map(math.isnan, errors)) else max(errors)
    return found


def _seconds(call: Callable[[], object], settings: CoreSettings) -> float:
    cuda = torch.device(settings.device).type == 'cuda'
    # With one thread the time of the processor is that of the clock, less what others take.
    one = not cuda and settings.threads == 1
    clock = time.process_time if one else time.perf_counter
    if cuda:
        torch.cuda.synchronize()
    start = clock()
    call()
    if cuda:
        torch.cuda.synchronize()
    return clock() - start


def _peak(
    core: Core, form: str, options: argparse.Namespace, settings: CoreSettings, train: bool
) -> float | None:
    """Rise of the peak memory in MiB, in a process that has done nothing else."""
    if not settings.memory:
        return None
    return in_own_process(measure_peak, core, form, options, settings, train)


def measure_peak(
    core: Core, form: str, options: argparse.Namespace, settings: CoreSettings, train: bool
) -> float | None:
    """Rise of the peak memory of this process in MiB over one pass, beyond the operands.

    Returns:
        float | None: None where the system does not tell (CPU, other than Linux).
    """
    torch.set_num_threads(settings.threads)
    operands = _operands(core, options, settings.device)
    call = (_step if train else _forward)(core, form, operands, options)
    if torch.device(settings.device).type == 'cuda':
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        call()
        return (torch.cuda.max_memory_allocated() - before) / _MIB
    smallest = core.series(options)[0]
    # Libraries and their buffers load at first use.
    tiny = _operands(core, smallest, settings.device)
    (_step if train else _forward)(core, form, tiny, smallest)()
    del tiny
    _return_free_memory()
    _reset_peak()
    resident = memory_status('VmRSS')
    call()
    peak = memory_status('VmHWM')
    return None if resident is None or peak is None else (peak - resident) / _MIB


def _return_free_memory() -> None:
    """Hand what the allocator keeps back to the system, or it would hide what is taken next."""
    trim = getattr(ctypes.CDLL(None), 'malloc_trim', None)  # of glibc
    if trim is not None:
        trim(0)


def _reset_peak() -> None:
    """Let ``VmHWM`` start anew from what is resident now, where Linux allows it."""
    # Without it the peak is that of the whole process, which is right as well once it is exceeded.
    with suppress(OSError), open('/proc/self/clear_refs', 'w') as file:
        file.write('5')
