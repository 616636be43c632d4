import csv
import importlib.util
import json
import math
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmdense.apis.report import make_report
from mmdense.apis.report_runs import Stat, find_results, group_runs, load_run, split_tables
from mmdense.evaluation import SettingMismatch, delta_m, load_reference
from mmdense.utils import DataError

sys.path.insert(0, str(Path(__file__).parent))
from report_trees import BETTER, DETAILS, HEADLINES, MTL, STL, write_experiments, write_run

ROOT = Path(__file__).parents[2]


def tool(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f'tools/analysis_tools/{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.fixture
def trees(tmp_path):
    return write_experiments(tmp_path)


def gains_by_hand(runs, base):
    names = list(HEADLINES.values())
    up = {name: DETAILS[name]['higher_is_better'] for name in names}
    return [delta_m({n: run[n] for n in names}, base, up) for run in runs]


def test_rows_hold_mean_and_deviation_over_seeds(trees):
    mtl, better, _ = trees
    (table,) = make_report([*mtl, *better]).tables
    assert [row.seeds for row in table.rows] == [3, 3]
    stat = table.rows[0].stats['depth/rmse']
    assert stat.mean == pytest.approx(np.mean([run['depth/rmse'] for run in MTL]))
    assert stat.std == pytest.approx(np.std([run['depth/rmse'] for run in MTL], ddof=1))
    assert table.columns == tuple(HEADLINES.values())
    (table,) = make_report(mtl, every_metric=True).tables
    assert table.columns == tuple(MTL[0])
    # Seconds of training, as minutes in the table.
    assert table.rows[0].seconds.mean == pytest.approx(151)
    assert table.lines()[1][-2:] == ['2.00', '2.5 +- 0.0']


def test_delta_m_against_single_task_runs_is_per_seed(trees):
    mtl, better, stl = trees
    (table,) = make_report([*mtl, *better], stl=stl).tables
    base = {name: STL[name] * 1.01 for name in HEADLINES.values()}  # mean of 1 and 1.02
    reference, first, second = table.rows
    for row, runs in ((first, MTL), (second, BETTER)):
        expected = gains_by_hand(runs, base)
        assert row.gains['mean'].values == pytest.approx(expected)
        assert row.gains['mean'].std == pytest.approx(np.std(expected, ddof=1))
    assert reference.stats['depth/rmse'].mean == pytest.approx(base['depth/rmse'])
    # Three networks of two million parameters each.
    assert (reference.parameters, first.parameters) == (6e6, 2e6)
    gain = first.gains['depth'].mean
    assert gain == pytest.approx(100 * (base['depth/rmse'] - 0.51) / base['depth/rmse'])


def test_made_reference_gives_what_the_runs_give(trees, tmp_path, capsys):
    mtl, _, stl = trees
    out = tmp_path / 'r.yaml'
    assert tool('make_reference')([*map(str, stl), '--out', str(out), '--name', 'ours']) == 0
    assert 'depth: rmse 0.5050 +- 0.0071' in capsys.readouterr().out
    found = load_reference(out)
    assert (found.name, found.seeds, found.setting.pictures) == ('ours', (0, 1), 200)
    assert found.metrics['depth/abs_rel'].value == pytest.approx(STL['depth/abs_rel'] * 1.01)
    assert str(tmp_path) not in found.source
    (by_file,) = make_report(mtl, reference=out).tables
    (by_runs,) = make_report(mtl, stl=stl).tables
    assert by_file.rows[1].gains == by_runs.rows[1].gains
    # All metrics, averaged within each task first.
    (every,) = make_report(mtl, reference=out, metrics='all').tables
    gains = every.rows[1].gains
    assert gains['mean'].mean == pytest.approx(np.mean([gains[t].mean for t in HEADLINES]))
    assert gains['depth'].mean != pytest.approx(by_file.rows[1].gains['depth'].mean)


def test_command_writes_tables_and_a_picture(trees, tmp_path, capsys):
    mtl, better, stl = trees
    out = tmp_path / 'out'
    arguments = [*map(str, [*mtl, *better]), '--stl', *map(str, stl), '--out', str(out)]
    assert tool('report')(arguments) == 0
    printed = capsys.readouterr().out
    assert '42.00 +- 1.00' in printed and '+0.50 +- 1.75' in printed
    assert 'RoomsDataset val, 200 pictures, 96x128' in printed
    assert 'depth/rmse: pooled over pixels, 0.001 < gt < 10 m, no crop' in printed
    text = (out / 'report.md').read_text()
    assert '| mtl_r18-thin_1xb8-600_rooms | r18-thin | 3 | 42.00 +- 1.00 |' in text
    assert '![RoomsDataset val, 200 pictures, 96x128](report.png)' in text
    rows = list(csv.DictReader((out / 'report.csv').open()))
    (row,) = [r for r in rows if r['name'] == 'delta_m' and r['model'].startswith('demt')]
    assert float(row['mean']) == pytest.approx(10.71, abs=0.01)
    assert len(row['values'].split()) == int(row['n']) == 3
    picture = cv2.imread(str(out / 'report.png'))
    assert picture.shape[1] > 800 and picture.std() > 10


def test_different_protocols_go_into_tables_of_their_own(trees, tmp_path):
    mtl, better, _ = trees
    for number, folder in enumerate(better):
        write_run(folder, BETTER[number], seed=number, config='demt', protocol='other')
    other = write_run(tmp_path / 'few', MTL[0], config='few', pictures=20)
    report = make_report([*mtl, *better, other])
    assert [[row.name for row in table.rows] for table in report.tables] == [
        ['mtl_r18-thin_1xb8-600_rooms'],
        ['demt'],
        ['few'],
    ]
    assert '3 tables: their numbers were made in different ways' in report.text()
    assert report.tables[1].protocols()[0] == 'semseg/mIoU: other'
    assert '20 pictures' in report.tables[2].title
    assert [path.name for path in report.save(tmp_path / 'o')] == [
        'report.md', 'report.csv', 'report.png', 'report2.png', 'report3.png',
    ]  # fmt: skip
    # A subset of the tasks under the same protocols shares the table.
    single = write_run(tmp_path / 'stl', {'depth/rmse': 0.5}, config='stl')
    (table,) = make_report([*mtl, single]).tables
    assert table.lines()[2][3:6] == ['-', '0.5000', '-']


def test_mismatching_reference_is_refused_unless_allowed(trees):
    mtl, _, stl = trees
    for folder in stl:
        report = json.loads((folder / 'results_val.json').read_text())
        report['run']['backbone']['description'] = 'ResNet(depth=50)'
        (folder / 'results_val.json').write_text(json.dumps(report))
    with pytest.raises(SettingMismatch, match=r'depth=18.*depth=50'):
        make_report(mtl, stl=stl)
    (table,) = make_report(mtl, stl=stl, allow=['backbone']).tables
    assert any('depth=50' in note and 'allowed' in note for note in table.notes)


def test_runs_of_fewer_tasks_say_so(trees, tmp_path):
    _, _, stl = trees
    two = {k: v for k, v in MTL[0].items() if not k.startswith('normal')}
    (table,) = make_report([write_run(tmp_path / 'two', two)], stl=stl).tables
    assert any('over its 2 tasks; the reference has 3' in note for note in table.notes)


def test_seeds_must_be_alike(tmp_path):
    a = write_run(tmp_path / 'a', MTL[0], seed=0)
    with pytest.raises(DataError, match=r'both mtl_r18.* with seed 0'):
        make_report([a, write_run(tmp_path / 'b', MTL[1], seed=0)])
    with pytest.raises(SettingMismatch, match=r"pictures: '100' and '200'"):
        make_report([a, write_run(tmp_path / 'c', MTL[1], seed=1, pictures=100)])
    with pytest.raises(SettingMismatch, match='iteration'):
        make_report([a, write_run(tmp_path / 'd', MTL[1], seed=1, iteration=300)])
    with pytest.raises(SettingMismatch, match=r"protocol of semseg/mIoU: 'x' and 'one confusion'"):
        make_report([a, write_run(tmp_path / 'e', MTL[1], seed=1, protocol='x')])
    # Another experiment under the name of the same config is another row.
    other = write_run(tmp_path / 'f', MTL[1], seed=1, experiment='changed by an option')
    (table,) = make_report([a, other]).tables
    assert [row.name for row in table.rows] == [
        'mtl_r18-thin_1xb8-600_rooms (a)',
        'mtl_r18-thin_1xb8-600_rooms (f)',
    ]


def test_unfinished_runs_are_noted(tmp_path):
    (table,) = make_report([write_run(tmp_path / 'a', MTL[0], iteration=300)]).tables
    assert any('numbers of iteration 300 of 600' in note for note in table.notes)


def test_missing_and_broken_results_are_explained(tmp_path):
    write_run(tmp_path / 'runs' / 'x', MTL[0])
    (tmp_path / 'empty').mkdir()
    cases = {
        'runs': r'holds no results_test.json or results_val.json. Runs are in its folders x',
        'empty': 'Train with validation',
        'nothing': 'no such folder',
    }
    for name, message in cases.items():
        with pytest.raises(DataError, match=message):
            load_run(tmp_path / name)
    file = tmp_path / 'empty' / 'results_val.json'
    file.write_text('{')
    with pytest.raises(DataError, match='is no JSON'):
        load_run(tmp_path / 'empty')
    file.write_text('{"details": {}, "pictures": 3}')
    with pytest.raises(DataError, match='lacks headlines'):
        load_run(tmp_path / 'empty')
    with pytest.raises(DataError, match='no runs to report'):
        make_report([])
    with pytest.raises(DataError, match='give one of them'):
        make_report([tmp_path / 'runs' / 'x'], reference='a.yaml', stl=[tmp_path])


def test_errors_of_the_command_are_sentences(tmp_path, capsys):
    assert tool('report')([str(tmp_path / 'none')]) == 1
    printed = capsys.readouterr().err
    assert 'no such folder' in printed and 'Traceback' not in printed
    folder = write_run(tmp_path / 'a', MTL[0])
    out = ['--out', str(tmp_path / 'r.yaml')]
    assert tool('make_reference')([str(folder), *out]) == 1
    assert 'evaluated on semseg, depth, normal' in capsys.readouterr().err


def test_reference_takes_one_experiment_per_task_of_one_backbone(tmp_path):
    main = tool('make_reference')
    depth = {'depth/rmse': 0.5}
    folders = [write_run(tmp_path / 'a', depth, config='a')]
    folders.append(write_run(tmp_path / 'b', depth, config='b'))
    with pytest.raises(DataError, match='b and a are both single-task runs for depth'):
        main([*map(str, folders), '--out', str(tmp_path / 'r.yaml'), '--debug'])
    folders[1] = write_run(tmp_path / 'c', {'normal/mean': 20.0}, config='c',
                           schedule=dict(iterations=20, batch_size=8))  # fmt: skip
    with pytest.raises(SettingMismatch, match=r"iterations: '20' and '600'"):
        main([*map(str, folders), '--out', str(tmp_path / 'r.yaml'), '--debug'])


def test_test_results_come_before_validation_results(tmp_path):
    folder = write_run(tmp_path / 'a', {'depth/rmse': 0.5})
    assert find_results(folder).name == 'results_val.json'
    write_run(folder, {'depth/rmse': 0.6}, name='results_test.json', iteration=0)
    assert load_run(folder).value('depth/rmse') == 0.6
    assert load_run(folder, 'val').value('depth/rmse') == 0.5
    assert load_run(folder).train_seconds == 150
    assert load_run(folder).unfinished == ''
    assert find_results(folder / 'results_val.json').name == 'results_val.json'


def test_results_without_run_facts_are_grouped_by_folder(tmp_path):
    for seed in range(2):
        folder = write_run(tmp_path / f'old_seed{seed}', {'depth/rmse': 0.5 + seed})
        report = json.loads((folder / 'results_val.json').read_text())
        del report['run'], report['resolution']
        report['details']['depth/rmse']['value'] = None if seed else 0.5
        (folder / 'results_val.json').write_text(json.dumps(report))
    (group,) = group_runs([load_run(tmp_path / f'old_seed{s}') for s in range(2)])
    assert (group.name, group.parameters) == ('old', None)
    assert math.isnan(group.stat('depth/rmse').mean)
    (table,) = make_report([tmp_path / 'old_seed0']).tables
    assert table.lines()[1] == ['old', '-', '1', '0.5000', '-', '-']
    assert len(split_tables([group])) == 1


def test_stat_of_one_and_of_none():
    assert str(Stat.of([0.5])) == '0.5000'
    assert str(Stat.of([])) == '-'
    assert Stat.of([1.0, 2.0]).text(100, 1, '+') == '+150.0 +- 70.7'
