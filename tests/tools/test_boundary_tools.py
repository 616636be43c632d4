import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2] / 'tools' / 'analysis_tools'


def tool(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_counters(path, protocol='A', pictures=4, matched=(60, 40)):
    counts = [[m, 100, m, 20 + m] for m in matched] + [[0, 100, 0, 0]]
    found = dict(
        protocol=protocol,
        pictures=pictures,
        thresholds=[0.2, 0.5, 0.9],
        counts=counts,
        best=counts[0],
    )
    path.write_text(json.dumps(found))
    return str(path)


def test_curves_of_several_runs_become_one_picture(tmp_path, capsys):
    curves = tool('boundary_curves')
    files = [write_counters(tmp_path / 'a.json'), write_counters(tmp_path / 'b.json')]
    out = tmp_path / 'new' / 'curves.png'
    assert curves.main([files[0], f'ours={files[1]}', '--out', str(out)]) == 0
    assert out.read_bytes().startswith(b'\x89PNG')
    assert '2 curves in' in capsys.readouterr().out
    run = curves.read_run(f'ours={files[1]}')
    assert run.name == 'ours'
    assert run.scores.ods == pytest.approx(2 * 0.75 * 0.6 / 1.35)


@pytest.mark.parametrize('other', [dict(protocol='B'), dict(pictures=5)])
def test_curves_of_different_protocols_are_refused(tmp_path, capsys, other):
    curves = tool('boundary_curves')
    files = [write_counters(tmp_path / 'a.json'), write_counters(tmp_path / 'b.json', **other)]
    out = str(tmp_path / 'c.png')
    assert curves.main([*files, '--out', out]) == 1
    assert 'different protocols' in capsys.readouterr().err
    assert curves.main([*files, '--out', out, '--mixed']) == 0


def test_wrong_files_are_named(tmp_path, capsys):
    curves = tool('boundary_curves')
    (tmp_path / 'bad.json').write_text('{"metrics": 1}')
    assert curves.main([str(tmp_path / 'bad.json')]) == 1
    assert 'bad.json is no counters file' in capsys.readouterr().err
    assert curves.main([str(tmp_path / 'none.json')]) == 1
    assert 'none.json cannot be read' in capsys.readouterr().err


def test_benchmark_compares_both_forms(capsys):
    benchmark = tool('boundary_benchmark')
    size = ['--size', '48', '64', '--max-dist', '0.03']
    assert benchmark.main([*size, '--pictures', '3', '--plain', '2', '--check']) == 0
    printed = capsys.readouterr().out
    assert '2 of 2 pictures have equal counters' in printed
    assert all(step in printed for step in ('suppression', 'thinning', 'matching', 'together'))


def test_benchmark_finds_a_difference(monkeypatch):
    benchmark = tool('boundary_benchmark')
    count = benchmark.count_thinned_plain
    monkeypatch.setattr(benchmark, 'count_thinned_plain', lambda *args: count(*args) + 1)
    arguments = ['--size', '48', '64', '--pictures', '1', '--plain', '1', '--check']
    assert benchmark.main(arguments) == 1


def test_pictures_of_the_benchmark_use_all_levels():
    picture = tool('boundary_benchmark').make_picture(0, (212, 280))
    assert len(np.unique(picture.levels)) > 240
    assert (
        picture.levels[picture.labels > 0].mean() > 2 * picture.levels[picture.labels == 0].mean()
    )
