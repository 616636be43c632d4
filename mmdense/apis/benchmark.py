"""Speed and peak memory of a config, by part.

Times are medians over steps, with the device waited for. Peak memory covers one step with the
model's weights, and in training with gradients and optimizer state: on CUDA the allocator's
``max_memory_allocated``; on the CPU the rise of the peak resident memory of a process of its own,
which counts what the libraries keep for themselves as well (Linux).
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner
from torch import Tensor

from mmdense.structures import DenseDataSample
from mmdense.utils.user_errors import describe

from .model_parts import build_model, parts_of, random_targets, scope_of

_MIB = 2**20


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Args:
        shape (tuple[int, int]): Height and width of the input.
        device (str): Such as ``'cpu'`` or ``'cuda'``.
        batch_size (int): Pictures per step.
        steps (int): Timed steps.
        warmup (int): Steps before them.
        amp (bool): Whether to run under bf16 autocast.
        workers (tuple[int, ...]): Numbers of loader processes to try.
        train (bool): Whether to measure training steps.
        memory (bool): Whether to measure peak memory.
    """

    shape: tuple[int, int]
    device: str = 'cpu'
    batch_size: int = 1
    steps: int = 10
    warmup: int = 3
    amp: bool = False
    workers: tuple[int, ...] = ()
    train: bool = True
    memory: bool = True


@dataclass(frozen=True)
class Row:
    """One measurement.

    Args:
        what (str): ``'inference'``, ``'training'`` or ``'data'``.
        part (str): ``'step'`` for the whole, or a part's name.
        milliseconds (float | None): Median time of a step.
        images_per_second (float | None): Batch size over that time.
        peak_mib (float | None): Peak memory of a step; None where not measured.
        note (str): Why there is no number, if there is none.
    """

    what: str
    part: str
    milliseconds: float | None = None
    images_per_second: float | None = None
    peak_mib: float | None = None
    note: str = ''


def benchmark(cfg: Config, settings: Settings) -> list[Row]:
    """Measure a config.

    Args:
        cfg (Config): With ``model``; ``optim_wrapper`` for training,
            ``train_dataloader`` for the data.
        settings (Settings): How.

    Returns:
        list[Row]: The whole step first, then its parts, for inference, training, data.
    """
    model = build_model(cfg, settings.device)
    inputs = torch.randn(settings.batch_size, 3, *settings.shape, device=settings.device)
    rows = _inference(cfg, model.eval(), inputs, settings)
    if settings.train and not hasattr(model, 'tasks'):
        note = f'{type(model).__name__} has no `tasks` to make ground truth for'
        rows.append(Row('training', 'step', note=note))
    elif settings.train:
        rows += _training(cfg, model.train(), inputs, settings)
    del model
    return rows + [measure_loader(cfg, settings, count) for count in settings.workers]


def measure_step(cfg: Config, settings: Settings) -> Row:
    """Time and peak memory of the whole step alone, in training or, by ``settings``, inference."""
    model = build_model(cfg, settings.device).train(settings.train)
    inputs = torch.randn(settings.batch_size, 3, *settings.shape, device=settings.device)
    if settings.train:
        seconds = _median_time(training_step(cfg, model, inputs, settings), settings)
    else:
        with torch.no_grad(), _autocast(settings):
            seconds = _median_time(lambda: model(inputs, mode='tensor'), settings)
    what = 'training' if settings.train else 'inference'
    return _row(what, 'step', seconds, settings, _peak(cfg, settings, settings.train))


def _inference(cfg: Config, model: Any, inputs: Tensor, settings: Settings) -> list[Row]:
    with torch.no_grad(), _autocast(settings):
        seconds = _median_time(lambda: model(inputs, mode='tensor'), settings)
        rows = [_row('inference', 'step', seconds, settings, _peak(cfg, settings, False))]
        for part in parts_of(model, inputs):
            seconds = _median_time(part.forward, settings)
            rows.append(_row('inference', part.name, seconds, settings))
    return rows


def _training(cfg: Config, model: Any, inputs: Tensor, settings: Settings) -> list[Row]:
    step = training_step(cfg, model, inputs, settings)
    rows = [
        _row(
            'training',
            'step',
            _median_time(step, settings),
            settings,
            _peak(cfg, settings, True),
        )
    ]
    with _autocast(settings):
        targets = random_targets(model, inputs)
    for part in parts_of(model, inputs, targets):

        def run(loss: Callable[[], Tensor] = part.loss) -> None:
            with _autocast(settings):
                value = loss()
            value.backward()

        rows.append(_row('training', part.name, _median_time(run, settings), settings))
        model.zero_grad(set_to_none=True)
    return rows


def training_step(
    cfg: Config, model: Any, inputs: Tensor, settings: Settings
) -> Callable[[], None]:
    """Forward, backward and update with the config's optimizer, on random ground truth."""
    with _autocast(settings):
        targets = random_targets(model, inputs)
    samples = []
    for index in range(len(inputs)):
        sample = DenseDataSample(metainfo=dict(img_shape=settings.shape, ori_shape=settings.shape))
        for key, value in targets.items():
            sample.set_gt(model.tasks[key], value[index])
        samples.append(sample)
    # Autocast is entered here for every device; mmengine's AMP wrapper wants a GPU.
    options = dict(type='OptimWrapper', optimizer=cfg.optim_wrapper.optimizer)
    if cfg.optim_wrapper.get('type') == 'JacobianOptimWrapper':
        options = {key: value for key, value in cfg.optim_wrapper.items() if key != 'dtype'}
    with scope_of(cfg):
        wrapper = build_optim_wrapper(model, options)
    measures = getattr(model.balancer, 'measure', None) == 'same_batch'

    def step() -> None:
        with wrapper.optim_context(model), _autocast(settings):
            losses = model(inputs, samples, mode='loss')
        loss, _ = model.parse_losses(losses)
        wrapper.update_params(loss)
        if measures:  # what BalancerHook does after an update
            with torch.no_grad(), model.balancer.measure_after_step(), _autocast(settings):
                model.parse_losses(model(inputs, samples, mode='loss'))

    return step


def measure_loader(cfg: Config, settings: Settings, workers: int) -> Row:
    """Speed of the training loader with so many processes."""
    name = f'loader, {workers} workers'
    loader = dict(cfg.train_dataloader, batch_size=settings.batch_size, num_workers=workers)
    loader['persistent_workers'] = workers > 0
    try:
        with scope_of(cfg):
            batches = iter(Runner.build_dataloader(loader, seed=0))
        # What the workers prepared while they were started must not count.
        for _ in range(settings.warmup + 2 * workers):
            next(batches)
        start = time.perf_counter()
        for _ in range(settings.steps):
            next(batches)
    except StopIteration:
        return Row('data', name, note='the data set is too small for so many steps')
    except Exception as error:
        return Row('data', name, note=describe(error, cfg))
    return _row('data', name, (time.perf_counter() - start) / settings.steps, settings)


def _autocast(settings: Settings) -> torch.autocast:
    kind = torch.device(settings.device).type
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=settings.amp)


def _median_time(run: Callable[[], Any], settings: Settings) -> float:
    """Median seconds of a call."""
    cuda = torch.device(settings.device).type == 'cuda'
    seconds = []
    for index in range(settings.warmup + settings.steps):
        if cuda:
            torch.cuda.synchronize()
        start = time.perf_counter()
        run()
        if cuda:
            torch.cuda.synchronize()
        if index >= settings.warmup:
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _row(
    what: str, part: str, seconds: float, settings: Settings, peak: float | None = None
) -> Row:
    return Row(what, part, 1000 * seconds, settings.batch_size / seconds, peak)


def _peak(cfg: Config, settings: Settings, train: bool) -> float | None:
    """Peak memory of a step in MiB, in a process that has done nothing else."""
    if not settings.memory:
        return None
    return in_own_process(measure_peak, cfg, settings, train)


def in_own_process(measure: Callable[..., float | None], *arguments: Any) -> float | None:
    """What ``measure(*arguments)`` returns in a process of its own; None if that dies."""
    # A fresh interpreter: freed memory that an allocator keeps would hide later peaks, and a
    # forked child must not use the thread pools of its parent.
    context = multiprocessing.get_context('spawn')
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_send_measured, args=(send, measure, arguments))
    process.start()
    send.close()
    try:
        measured: float | None = receive.recv()
    except EOFError:  # it died, most likely for want of memory
        measured = None
    process.join()
    return measured


def _send_measured(
    send: Any, measure: Callable[..., float | None], arguments: tuple[Any, ...]
) -> None:
    send.send(measure(*arguments))
    send.close()


def measure_peak(cfg: Config, settings: Settings, train: bool) -> float | None:
    """Peak memory of this process in MiB over building a model and running two steps.

    Returns:
        float | None: None where the system does not tell (CPU, other than Linux).
    """
    cuda = torch.device(settings.device).type == 'cuda'
    before = memory_status('VmRSS')
    model = build_model(cfg, settings.device).train(train)
    inputs = torch.randn(settings.batch_size, 3, *settings.shape, device=settings.device)
    if train:
        step = training_step(cfg, model, inputs, settings)
        if cuda:
            torch.cuda.reset_peak_memory_stats()
        for _ in range(2):  # the second one has gradients and optimizer state beside it
            step()
    else:
        with torch.no_grad(), _autocast(settings):
            model(inputs, mode='tensor')
    if cuda:
        return torch.cuda.max_memory_allocated() / _MIB
    after = memory_status('VmHWM')
    return None if before is None or after is None else (after - before) / _MIB


def memory_status(field: str) -> int | None:
    """A field of ``/proc/self/status`` in bytes."""
    try:
        with open('/proc/self/status') as file:
            for line in file:
                if line.startswith(f'{field}:'):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None
