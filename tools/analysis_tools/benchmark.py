r"""Speed and peak memory of a config by part, or of the core of a method by form.

A config::

    python tools/analysis_tools/benchmark.py \
        configs/baselines/mtl_r18-thin_1xb8-600_rooms-96x128.py --workers 0 2

Training with something over training without, in turns; without a second config, the first one
without its regularizers::

    python tools/analysis_tools/benchmark.py CONFIG --against [OTHER_CONFIG]

The core of a method, one function in several equal forms (``--core NAME --help`` for its sizes)::

    python tools/analysis_tools/benchmark.py --core cross_task_affinity --grid 72 96 --tasks 3
    python tools/analysis_tools/benchmark.py --core cross_task_affinity --scaling
    python tools/analysis_tools/benchmark.py --core triplane --coarse 64 --fine 64

With ``--scaling`` the size grows, and the last line is the slope of log time against log size: 1
is linear.
"""

import argparse
import dataclasses
import json
import sys

import torch
from mmengine.config import Config, DictAction
from terminaltables import AsciiTable

from mmdense.apis.benchmark import Row, Settings, benchmark
from mmdense.apis.core_benchmarks import CORES, Core, CoreRow, CoreSettings, measure_core, slope
from mmdense.apis.cost_ratio import CostRatio, clock_name, measure_ratios
from mmdense.apis.model_parts import deployed, input_size
from mmdense.engine.launch import guard, load_config
from mmdense.utils.command_line import ToolParser
from mmdense.utils.config_check import ConfigError, require_valid_config


def protocol(settings: Settings) -> str:
    """How was measured, in one line."""
    device = settings.device
    if device.startswith('cuda'):
        device = torch.cuda.get_device_name(torch.device(device))
    else:
        device = f'{device}, {torch.get_num_threads()} threads'
    height, width = settings.shape
    precision = 'bf16' if settings.amp else 'fp32'
    return (
        f'batch {settings.batch_size}, {height} x {width} (H x W), {precision}, {device}, torch '
        f'{torch.__version__}, median of {settings.steps} steps'
    )


def table(rows: list[Row]) -> str:
    """The rows as people read them."""
    lines = [['', 'part', 'ms', 'images/s', 'peak MiB']]
    last = ''
    for row in rows:
        numbers = [row.note or '-', '-', '-']
        if row.milliseconds is not None:
            peak = '' if row.peak_mib is None else f'{row.peak_mib:.0f}'
            numbers = [f'{row.milliseconds:.2f}', f'{row.images_per_second:.2f}', peak]
        lines.append([row.what if row.what != last else '', row.part, *numbers])
        last = row.what
    return AsciiTable(lines).table


def run(args: argparse.Namespace) -> None:
    """Measure and print."""
    cfg = load_config(args.config, args.cfg_options)
    require_valid_config(cfg, args.config)
    settings = Settings(
        shape=tuple(args.shape) if args.shape else input_size(cfg),
        device=args.device,
        batch_size=args.batch_size or cfg.train_dataloader.batch_size,
        steps=args.steps,
        warmup=args.warmup,
        amp=args.amp,
        workers=tuple(args.workers),
        train=not args.no_train,
        memory=not args.no_memory,
    )
    if args.against is not None:
        run_against(cfg, settings, args)
        return
    rows = benchmark(cfg, settings)
    if args.json:
        found = dict(
            config=args.config,
            protocol=protocol(settings),
            settings=dataclasses.asdict(settings),
            rows=[dataclasses.asdict(row) for row in rows],
        )
        print(json.dumps(found, indent=2))
        return
    print(protocol(settings))
    print(table(rows))
    if settings.memory:
        print(peak_note(settings))


def peak_note(settings: Settings) -> str:
    """What peak memory is, on this device."""
    if settings.device.startswith('cuda'):
        return "peak: torch's max_memory_allocated."
    return 'peak: rise of the peak resident memory of a process of its own.'


def run_against(cfg: Config, settings: Settings, args: argparse.Namespace) -> None:
    """Measure two trainings in turns and print the ratios."""
    if args.against:
        other = load_config(args.against, args.cfg_options)
        require_valid_config(other, args.against)
    elif cfg.model.get('regularizers'):
        other = deployed(cfg)
    else:
        raise ConfigError(
            f'--against: {args.config} has no regularizers to train without; name the config to '
            'compare it with.'
        )
    rows = measure_ratios(cfg, other, settings)
    title = f'training, {protocol(settings)} of each, in turns, {clock_name(settings)}'
    if args.json:
        found = dict(
            config=args.config,
            against=args.against or 'the same without regularizers',
            protocol=title,
            settings=dataclasses.asdict(settings),
            rows=[dataclasses.asdict(row) for row in rows],
        )
        print(json.dumps(found, indent=2))
        return
    print(title)
    print(ratio_table(rows))
    print('ratio of times: median over pairs of steps, and their quartiles.')
    if settings.memory:
        print(peak_note(settings))


def ratio_table(rows: list[CostRatio]) -> str:
    """The ratios as people read them."""
    lines = [['', 'with', 'without', 'ratio']]
    for row in rows:
        values = ['-' if v is None else f'{v:.2f}' for v in (row.with_it, row.without)]
        cell = '-' if row.ratio is None else f'{row.ratio:.3f}'
        if row.low is not None:
            cell += f' ({row.low:.3f} to {row.high:.3f})'
        lines.append([row.what, *values, cell])
    return AsciiTable(lines).table


def ratio(first: float | None, other: float | None) -> str:
    """How many times as much the first form needs; nothing to say beside next to nothing."""
    return f'{first / other:.2f}' if first and other and other > 1e-6 * first else '-'


def core_table(core: Core, rows: list[CoreRow]) -> str:
    """The rows as people read them; ratios are to the first form of the same size."""
    names = ('forward_ms', 'step_ms', 'forward_mib', 'step_mib', 'kept_mib')
    heading = ['forward, ms', '+ backward, ms', 'forward, MiB', '+ backward, MiB', 'kept, MiB']
    lines = [
        ['form', 'size', *(cell for name in heading for cell in (name, 'ratio')), 'difference']
    ]
    for row in rows:
        base = next((r for r in rows if r.size == row.size and r.form == core.forms[0]), None)
        line = [row.form, str(row.size)]
        for name in names:
            value = getattr(row, name)
            line.append('-' if value is None else f'{value:.0f}')
            line.append('-' if base is None else ratio(getattr(base, name), value))
        line.append('-' if row.difference is None else f'{row.difference:.1e}')
        lines.append(line)
    return AsciiTable(lines).table


def core_parser(argv: list[str]) -> argparse.ArgumentParser:
    """The command line of ``--core``, with the options of the core that it names."""
    parser = ToolParser(__doc__)
    parser.add_argument('--core', choices=sorted(CORES), required=True)
    parser.add_argument('--scaling', action='store_true', help='over a series of sizes')
    parser.add_argument('--steps', type=int, default=3, help='timed calls (default: 3)')
    parser.add_argument('--warmup', type=int, default=1, help='calls before them (default: 1)')
    parser.add_argument('--threads', type=int, default=1, help='default: 1')
    parser.add_argument('--device', default='cpu', help='default: cpu')
    parser.add_argument('--no-memory', action='store_true', help='time only')
    parser.add_argument('--json', action='store_true', help='print JSON')
    parser.add_argument('--debug', action='store_true', help='show tracebacks')
    first = argparse.ArgumentParser(add_help=False)
    first.add_argument('--core')
    core = CORES.get(first.parse_known_args(argv)[0].core)
    if core is not None:
        parser.add_argument('--forms', nargs='+', choices=core.forms, help='which to measure')
        core.add_arguments(parser)
    return parser


def run_core(args: argparse.Namespace) -> None:
    """Measure a core and print."""
    core = CORES[args.core]
    settings = CoreSettings(
        steps=args.steps,
        warmup=args.warmup,
        threads=args.threads,
        device=args.device,
        memory=not args.no_memory,
    )
    forms = args.forms or (core.growing if args.scaling else core.measured)
    # The first form first: others are compared with it.
    forms = sorted(forms, key=core.forms.index)
    problems = core.series(args) if args.scaling else [args]
    rows = [row for problem in problems for row in measure_core(core, problem, forms, settings)]
    slopes = {}
    if args.scaling:
        slopes = {form: slope([row for row in rows if row.form == form]) for form in forms}
    what = 'growing size' if args.scaling else core.describe(args)
    title = (
        f'{core.name}, {what}, {args.device}, {args.threads} thread(s), torch '
        f'{torch.__version__}, median of {args.steps}'
    )
    if args.json:
        found = dict(
            core=core.name,
            protocol=title,
            settings=dataclasses.asdict(settings),
            rows=[dataclasses.asdict(row) for row in rows],
            slopes=slopes,
        )
        print(json.dumps(found, indent=2))
        return
    print(title)
    print(core_table(core, rows))
    for form, value in slopes.items():
        print(f'{form}: log-log slope of forward + backward {value:.2f}')


def main(argv: list[str] | None = None) -> int:
    """Read the command line and return the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if any(word.split('=')[0] == '--core' for word in argv):
        chosen = core_parser(argv).parse_args(argv)
        return guard(lambda: run_core(chosen), debug=chosen.debug)
    parser = ToolParser(__doc__)
    # Read above already; named here for the help.
    parser.add_argument('--core', choices=sorted(CORES), help='measure the core of a method')
    parser.add_argument('config', help='config file')
    parser.add_argument('--shape', type=int, nargs=2, metavar=('H', 'W'), help='input size')
    default = 'cuda' if torch.cuda.is_available() else 'cpu'
    parser.add_argument('--device', default=default, help='default here: %(default)s')
    parser.add_argument('--batch-size', type=int, help="default: the training loader's")
    parser.add_argument('--steps', type=int, default=10, help='timed steps (default: 10)')
    parser.add_argument('--warmup', type=int, default=3, help='steps before them (default: 3)')
    parser.add_argument('--amp', action='store_true', help='bf16 autocast')
    parser.add_argument(
        '--workers',
        type=int,
        nargs='*',
        default=[],
        metavar='N',
        help='also measure the training loader with so many processes, for example 0 2 4',
    )
    parser.add_argument(
        '--against',
        nargs='?',
        const='',
        metavar='CONFIG',
        help='compare the training with that of another config, or, without a name, with the same '
        'one without its regularizers',
    )
    parser.add_argument('--no-train', action='store_true', help='inference only')
    parser.add_argument('--no-memory', action='store_true', help='leave peak memory out')
    parser.add_argument('--json', action='store_true', help='print JSON')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE')
    parser.add_argument('--debug', action='store_true', help='show tracebacks')
    args = parser.parse_args(argv)
    return guard(lambda: run(args), debug=args.debug)


if __name__ == '__main__':
    sys.exit(main())
