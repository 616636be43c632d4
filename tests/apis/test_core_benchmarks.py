"""Forms of a core measured against each other, and the command line for it."""

import argparse
import importlib.util
import json
from pathlib import Path

import pytest
import torch

from mmdense.apis import core_benchmarks
from mmdense.apis.core_benchmarks import CORES, Core, CoreRow, CoreSettings, measure_core, slope
from mmdense.apis.core_benchmarks.base import kept_for_backward, measure_peak

TOOL = Path(__file__).parents[2] / 'tools' / 'analysis_tools' / 'benchmark.py'
ONCE = CoreSettings(steps=1, warmup=0, memory=False)


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('benchmark_tool', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def squares():
    """A core of two forms, one of which needs much memory and one of which is wrong."""

    class Squares(Core):
        name = 'squares'
        forms = ('matrix', 'plain', 'wrong')
        measured = ('matrix', 'plain')
        growing = ('plain',)

        def add_arguments(self, parser):
            parser.add_argument('--count', type=int, default=40)

        def operands(self, options):
            return [torch.randn(options.count)]

        def run(self, form, operands, options):
            (x,) = operands
            if form == 'matrix':
                return (x[:, None] * x).diagonal()
            return x.square() * (1 if form == 'plain' else 1.5)

        def describe(self, options):
            return f'{options.count} numbers'

        def series(self, options):
            return [argparse.Namespace(count=count) for count in (4, 8)]

        def size(self, options):
            return options.count

    yield CORES['squares']
    del CORES['squares']


def test_a_core_enters_itself_and_its_forms_are_compared(squares):
    rows = measure_core(squares, argparse.Namespace(count=40), squares.forms, ONCE)
    assert [(row.form, row.size) for row in rows] == [(form, 40) for form in squares.forms]
    assert rows[0].difference == 0 and rows[1].difference < 1e-6
    assert rows[2].difference == pytest.approx(0.5)
    assert all(row.forward_ms > 0 and row.step_ms > 0 for row in rows)
    (alone,) = measure_core(squares, argparse.Namespace(count=40), ['plain'], ONCE)
    assert alone.difference is None and alone.step_mib is None


def test_peak_memory_is_that_of_the_form(squares):
    options = argparse.Namespace(count=3000)
    peaks = {form: measure_peak(squares, form, options, ONCE, False) for form in squares.forms}
    if None not in peaks.values():
        matrix = 3000**2 * 4 / 2**20
        assert 0.8 * matrix < peaks['matrix'] < 1.5 * matrix
        assert peaks['plain'] < 0.2 * matrix


def test_slope_of_powers():
    rows = [CoreRow('x', n, 1.0, 0.3 * n**1.5) for n in (10, 30, 200)]
    assert slope(rows) == pytest.approx(1.5)


@pytest.mark.parametrize('name', ['cross_task_affinity', 'pattern_affinity'])
def test_forms_agree(name, tool, capsys):
    forms = CORES[name].forms
    command = ['--core', name, '--grid', '6', '7', '--channels', '4', '--tasks', '2', '--json']
    command += ['--steps', '1', '--warmup', '0', '--no-memory', '--forms', *reversed(forms)]
    assert tool.main([*command, '--block-rows', '10']) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row['form'] for row in found['rows']] == list(forms)
    assert max(row['difference'] for row in found['rows']) < 1e-4
    assert '6 x 7 = 42' in found['protocol']


def test_growth_is_printed_with_its_slope(tool, capsys, monkeypatch):
    grids = ((4, 4), (4, 8))
    monkeypatch.setattr(core_benchmarks.cross_task_affinity, 'GRIDS', grids)
    command = ['--core', 'cross_task_affinity', '--scaling', '--channels', '4', '--no-memory']
    assert tool.main([*command, '--joint-affinity', 'per_task', '--steps', '1']) == 0
    out = capsys.readouterr().out
    assert '| factorised | 16 ' in out and '| factorised | 32 ' in out
    assert 'factorised: log-log slope of forward + backward' in out


def test_ratios_are_to_the_first_form_of_that_size(tool, squares):
    rows = [
        CoreRow('matrix', 10, 8.0, 30.0, 100.0, 200.0),
        CoreRow('plain', 10, 2.0, 10.0, 10.0, None),
        CoreRow('plain', 20, 4.0, 20.0),
    ]
    lines = [line.split('|') for line in tool.core_table(squares, rows).splitlines()]
    cells = [[cell.strip() for cell in line[1:-1]] for line in lines if len(line) > 2]
    assert cells[1][2:6] == ['8', '1.00', '30', '1.00']
    assert cells[2][2:] == ['2', '4.00', '10', '3.00', '10', '10.00', '-', '-', '-', '-', '-']
    assert cells[3][2:6] == ['4', '-', '20', '-']


def test_what_is_kept_for_backward_is_counted_once(squares):
    options = argparse.Namespace(count=2**18)
    operands = [torch.randn(options.count, requires_grad=True)]
    # A square keeps its input only, which is an operand.
    assert kept_for_backward(squares, 'plain', operands, options) == 0

    class Chain(type(squares)):
        name = 'chain'

        def run(self, form, operands, options):
            x = operands[0].sin()
            return (x * x) * x

    try:
        # cos(operand) is made again in backward; x and x * x are kept, x for three products.
        assert kept_for_backward(CORES['chain'], 'plain', operands, options) == 2
    finally:
        del CORES['chain']


@pytest.mark.parametrize('fine', [0, 4])
def test_triplane_forms_agree(fine):
    # 9 rows: the checkpointed form makes two bands of them.
    options = argparse.Namespace(
        batch=2, grid=(9, 4), coarse=5, fine=fine, channels=3, hidden=4, outputs=(2, 1)
    )
    core = CORES['triplane']
    rows = measure_core(core, options, core.forms, ONCE)
    assert [row.form for row in rows] == [
        'naive', 'naive_checkpointed', 'factorised_autograd', 'factorised_whole', 'factorised'
    ]  # fmt: skip
    assert all(row.difference < 1e-4 for row in rows)
    kept = {row.form: row.kept_mib for row in rows}
    assert kept['naive_checkpointed'] < kept['factorised'] < kept['factorised_autograd']
    assert [core.size(o) for o in core.series(options)][-1] == 4032
    assert f'9 x 4 rays, 5 + {fine} depths' in core.describe(options)


def test_unknown_core_is_answered_with_the_known_ones(tool, capsys):
    with pytest.raises(SystemExit):
        tool.main(['--core', 'attention'])
    assert 'cross_task_affinity' in capsys.readouterr().err
