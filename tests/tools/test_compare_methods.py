import importlib.util
import math
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmdense.apis.benchmark import Row
from mmdense.apis.method_comparison import (
    MARKERS,
    MethodCost,
    markdown,
    parse_method,
    write_between_markers,
)
from mmdense.registry import MODELS
from mmdense.utils import DataError

ROOT = Path(__file__).parents[2]
BASELINES = ROOT / 'configs/baselines'
MTL = BASELINES / 'mtl_r18-thin_1xb8-600_rooms-96x128_3task.py'
STL = [
    BASELINES / f'stl_r18-thin_1xb8-600_rooms-96x128_{task}.py'
    for task in ('semseg', 'depth', 'normal')
]


@pytest.fixture(scope='module')
def tool():
    path = ROOT / 'tools/analysis_tools/compare_methods.py'
    spec = importlib.util.spec_from_file_location('compare_methods', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cells(line):
    return [cell.strip() for cell in line.strip('|').split('|')]


def test_single_task_networks_add_up(tool, capsys):
    """Three networks have the heads of the one, and its backbone three times."""
    stl = 'stl=' + '+'.join(map(str, STL))
    assert tool.main([f'mtl={MTL}', stl, '--no-time']) == 0
    _, head, _, mtl, stl = capsys.readouterr().out.splitlines()
    assert cells(head) == ['Method', 'Tasks', 'Parameters', 'GMACs']
    name, tasks, parameters, _ = cells(mtl)
    assert (name, tasks) == ('mtl', '3') and cells(stl)[1] == '3'
    with torch.device('meta'):
        model = Config.fromfile(MTL).model.backbone
        backbone = MODELS.build(model, default_args=dict(_scope_='mmdense'))
    shared = sum(p.numel() for p in backbone.parameters())
    assert int(cells(stl)[2].replace(',', '')) == int(parameters.replace(',', '')) + 2 * shared


def test_times_add_up_and_memory_is_the_largest(tool, capsys, monkeypatch):
    import mmdense.apis.method_comparison as module

    def measure(cfg, settings):
        assert settings.shape == (32, 64) and settings.batch_size == 2
        depth = 'depth' in cfg.tasks
        return Row('', 'step', (100.0 if settings.train else 10.0) + depth, None, 50.0 + depth)

    monkeypatch.setattr(module, 'measure_step', measure)
    text = f'both={STL[0]}+{STL[1]}'
    assert tool.main([text, '--shape', '32', '64', '--batch', '2']) == 0
    *_, row = capsys.readouterr().out.splitlines()
    assert cells(row)[0] == 'both' and cells(row)[4:] == ['201', '21', '51']


def test_a_step_is_really_timed(tool, capsys):
    options = ['--shape', '32', '64', '--steps', '1', '--warmup', '0', '--no-memory']
    assert tool.main([str(MTL), *options]) == 0
    *_, row = capsys.readouterr().out.splitlines()
    assert len(cells(row)) == 6 and all(float(cell.replace(',', '')) > 0 for cell in cells(row)[4:])


def test_page_gets_the_table_with_links(tmp_path):
    begin, end = MARKERS
    page = tmp_path / 'README.md'
    page.write_text(f'above\n{begin}\nold\n{end}\nbelow\n')
    a, b = (str(tmp_path / f'x/{name}.py') for name in 'ab')
    rows = [MethodCost('one', (a,), 3, 12345, 2 * 10**9), MethodCost('two', (a, b), 2, 1, 1)]
    write_between_markers(page, markdown(rows, tmp_path))
    text = page.read_text()
    assert text.startswith(f'above\n{begin}\n| Method | Tasks | Parameters | GMACs |\n')
    assert '| [one](./x/a.py) | 3 | 12,345 | 2.00 |' in text
    assert '| two [1](./x/a.py) [2](./x/b.py) | 2 |' in text
    assert text.endswith(f'{end}\nbelow\n') and 'old' not in text
    write_between_markers(page, markdown(rows, tmp_path))
    assert page.read_text() == text


@pytest.mark.parametrize('text', ['', MARKERS[0], '\n'.join(reversed(MARKERS))])
def test_page_without_a_place_is_refused(tmp_path, text):
    page = tmp_path / 'README.md'
    page.write_text(text)
    with pytest.raises(DataError, match='has no one place for the table'):
        write_between_markers(page, 'table')
    assert page.read_text() == text
    with pytest.raises(DataError, match='there is no such page'):
        write_between_markers(tmp_path / 'missing.md', 'table')


def test_columns_without_a_number_are_left_out():
    rows = [
        MethodCost('a', (), 1, 1, 1, train_ms=5.4),
        MethodCost('b', (), 1, 1, 1, train_ms=math.nan),
    ]
    lines = markdown(rows).splitlines()
    assert cells(lines[0])[4:] == ['train step, ms']
    assert [cells(line)[-1] for line in lines[2:]] == ['5', '-']


def test_names():
    assert parse_method('configs/x.py') == ('x', ('configs/x.py',))
    assert parse_method('a=configs/x.py') == ('a', ('configs/x.py',))
