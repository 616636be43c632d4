import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData

from mmdense.evaluation import BinaryFMetric, BoundaryMetric, MultiTaskEvaluator, results_table
from mmdense.evaluation.boundary import (
    BoundaryProtocol,
    best_counts,
    boundary_scores,
    count_matches_plain,
    true_boundaries,
)
from mmdense.evaluation.metrics import boundary_metric
from mmdense.structures import DenseDataSample
from mmdense.tasks import Boundary
from mmdense.utils import DataError, ShapeError

SCRIPT = Path(__file__).with_name('evaluate_boundaries.py')
TASK = Boundary()
rng = np.random.default_rng(0)


def scribble(size=(48, 64)):
    """Borders of a few rectangles, and levels that are nearly right."""
    edges = np.zeros(size, np.uint8)
    for _ in range(4):
        top, left = rng.integers(0, size[0] - 12), rng.integers(0, size[1] - 12)
        edges[top : top + 10, left] = edges[top, left : left + 12] = 1
    levels = np.clip(150 * edges + rng.integers(0, 120, size), 0, 255).astype(np.uint8)
    return edges, levels


def make_sample(edges, levels, name='0', **labels):
    sample = DenseDataSample(metainfo=dict(img_path=f'images/{name}.png', sample_id=name))
    sample.set_gt(TASK, torch.from_numpy(edges[None]))
    sample.set_pred(TASK, torch.from_numpy(levels[None] / 255.0))
    for field, array in labels.items():
        sample.set_field(PixelData(data=torch.from_numpy(array[None])), field, dtype=PixelData)
    return sample.to_dict()


def run(metric, samples, batch=1):
    for first in range(0, len(samples), batch):
        metric.process(None, samples[first : first + batch])
    return metric.evaluate(len(samples))


@pytest.fixture
def pictures():
    return [scribble() for _ in range(5)]


@pytest.fixture
def samples(pictures):
    return [make_sample(*picture, name=str(i)) for i, picture in enumerate(pictures)]


def test_numbers_are_those_of_the_pooled_counters_by_the_book(pictures, samples):
    protocol = BoundaryProtocol(0.03, True, tuple(k / 10 for k in range(1, 10)))
    counts = np.stack(
        [count_matches_plain(lv, true_boundaries(ed), protocol) for ed, lv in pictures]
    )
    best = sum(best_counts(each) for each in counts)
    expected = boundary_scores(counts.sum(0), best, protocol.grid)
    metric = BoundaryMetric(max_dist=0.03, thresholds=protocol.grid)
    results = run(metric, samples)
    assert list(results.values()) == pytest.approx(list(expected))
    assert list(results) == [
        f'boundary/{name}'
        for name in ('odsF', 'ods_precision', 'ods_recall', 'ods_threshold', 'oisF', 'AP')
    ]
    assert 0.2 < results['boundary/odsF'] <= results['boundary/oisF'] + 1e-12 < 1
    pairs = [(levels / 255.0, edges) for edges, levels in pictures]
    assert metric.score(pairs) == {k.split('/')[1]: v for k, v in results.items()}


def test_batches_and_workers_do_not_change_the_numbers(samples):
    expected = run(BoundaryMetric(), samples)
    assert run(BoundaryMetric(), samples, batch=2) == expected
    assert run(BoundaryMetric(workers=0), samples, batch=5) == expected
    metric = BoundaryMetric(workers=2)
    assert run(metric, samples, batch=3) == expected
    assert run(metric, samples[:2]) == run(BoundaryMetric(), samples[:2])


def test_evaluator_reports_odsf_as_the_headline(samples):
    evaluator = MultiTaskEvaluator(tasks=dict(boundary=dict(type='Boundary')))
    evaluator.process([DenseDataSample(), *samples])
    evaluator.evaluate(6)
    assert evaluator.report['headlines'] == dict(boundary='boundary/odsF')
    detail = evaluator.report['details']['boundary/odsF']
    assert detail['percent'] and detail['higher_is_better']
    for words in ('max_dist=0.011', 'NMS', '101 thresholds 0.001..0.999 (p > t)', 'all pictures'):
        assert words in detail['protocol']
    table = results_table(evaluator.report).splitlines()
    assert any('odsF *' in row and 'higher' in row for row in table)
    assert not any('ods_threshold' in row and 'higher' in row for row in table)


def test_pixelwise_score_stays_available(samples):
    tasks = dict(boundary=dict(type='Boundary', metrics=[dict(type='BinaryFMetric', beta2=1.0)]))
    evaluator = MultiTaskEvaluator(tasks=tasks)
    assert isinstance(evaluator.metrics[0], BinaryFMetric)
    evaluator.process(samples)
    assert 'boundary/maxF' in evaluator.evaluate(5)


def test_label_map_gives_the_borders_between_all_its_classes():
    labels = np.zeros((40, 50), np.int16)
    labels[10:30, 10:20], labels[10:30, 20:40] = 255, 300
    levels = (255 * true_boundaries(labels)).astype(np.uint8)
    sample = make_sample(np.zeros((40, 50), np.uint8), levels, gt_context=labels)
    metric = BoundaryMetric(max_dist=0.0075, gt='labels', nms=False)
    assert run(metric, [sample])['boundary/odsF'] == 1
    assert metric.summed['counts'][0, 1] > 90
    assert 'borders in gt_context' in metric.protocol
    assert '99 thresholds 0.01..0.99 (p >= t)' in metric.protocol


def test_missing_label_map_is_an_error_that_names_the_field(samples):
    with pytest.raises(DataError, match=r"images/0.png has boundaries but no field 'gt_context'"):
        run(BoundaryMetric(gt='labels'), samples)


def test_unknown_pixels_are_neither_true_nor_predicted():
    edges, levels = scribble()
    unknown = edges.copy()
    unknown[:, 30:] = 255
    metric = BoundaryMetric(nms=False)
    run(metric, [make_sample(unknown, levels)])
    seen = metric.summed
    cleared, quiet = np.where(unknown == 255, 0, edges), np.where(unknown == 255, 0, levels)
    run(metric, [make_sample(cleared.astype(np.uint8), quiet.astype(np.uint8))])
    np.testing.assert_array_equal(seen['counts'], metric.summed['counts'])


def test_pictures_outside_the_subset_do_not_count(samples, tmp_path):
    (tmp_path / 'test_new.txt').write_text('1\n3\n')
    metric = BoundaryMetric(subset=str(tmp_path / 'test_new.txt'), workers=1)
    assert run(metric, samples) == run(BoundaryMetric(), [samples[1], samples[3]])
    assert metric.summed['pictures'] == 2
    assert metric.protocol.endswith(', pictures of test_new.txt')


def test_report_says_how_many_pictures_of_the_subset_were_scored(samples, tmp_path):
    (tmp_path / 'test_new.txt').write_text('1\n3\n')
    metric = dict(type='BoundaryMetric', subset=str(tmp_path / 'test_new.txt'))
    tasks = dict(boundary=dict(type='Boundary'))
    evaluator = MultiTaskEvaluator(tasks=tasks, metrics=dict(boundary=[metric]))
    evaluator.process(samples)
    evaluator.evaluate(5)
    assert evaluator.report['pictures'] == 5
    assert evaluator.report['details']['boundary/odsF']['pictures'] == 2
    assert 'test_new.txt: 2' in results_table(evaluator.report)


def test_missing_subset_is_one_clear_error_before_the_first_picture(samples, tmp_path):
    metric = BoundaryMetric(subset=str(tmp_path / 'gone.txt'))
    with pytest.raises(DataError, match=r'gone.txt.*cannot be read.*one sample id per line'):
        metric.dataset_meta = {}
    with pytest.raises(DataError, match='cannot be read'):
        metric.process(None, samples)
    (tmp_path / 'gone.txt').write_text('\n \n')
    with pytest.raises(DataError, match='names no picture'):
        metric.process(None, samples)


def test_counters_file_repeats_the_numbers(samples, tmp_path):
    path = tmp_path / 'runs' / 'counters.json'
    results = run(BoundaryMetric(counters_file=str(path)), samples)
    found = json.loads(path.read_text())
    scores = boundary_scores(
        np.asarray(found['counts']), np.asarray(found['best']), np.asarray(found['thresholds'])
    )
    assert scores.ods == results['boundary/odsF'] == found['metrics']['boundary/odsF']
    assert found['pictures'] == 5


def test_approximate_says_so_and_is_not_better(samples):
    coarse = BoundaryMetric(approximate=True)
    assert coarse.protocol.startswith('APPROXIMATE, 11 thresholds: biased low, for curves only')
    assert run(coarse, samples)['boundary/odsF'] <= run(BoundaryMetric(), samples)['boundary/odsF']


def test_damaged_cache_is_one_warning(samples, tmp_path, monkeypatch):
    expected = run(BoundaryMetric(cache_dir=str(tmp_path)), samples)
    files = list(tmp_path.iterdir())
    assert len(files) == 5
    for file in files[:3]:
        file.write_bytes(b'nothing')
    warnings = []
    monkeypatch.setattr(boundary_metric, 'print_log', lambda text, **_: warnings.append(text))
    assert run(BoundaryMetric(cache_dir=str(tmp_path)), samples) == expected
    assert len(warnings) == 1
    assert 'is counted anew' in warnings[0]


def test_ids_of_the_subset_that_are_not_in_the_data_are_a_warning(samples, tmp_path, monkeypatch):
    (tmp_path / 'list.txt').write_text('1\n2008_000123\n')
    warnings = []
    monkeypatch.setattr(boundary_metric, 'print_log', lambda text, **_: warnings.append(text))
    run(BoundaryMetric(subset=str(tmp_path / 'list.txt')), samples)
    assert '1 of the 2 pictures of' in warnings[0]
    assert 'no published protocol' in warnings[0]


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(gt='edge'), "BoundaryMetric.gt is 'edge'; choose 'edges' or 'labels'"),
        (dict(workers=-1), '`workers` is -1'),
        (dict(approximate=True, thresholds=[0.5]), 'leave out'),
        (dict(max_dist=7.7), '`max_dist` is 7.7'),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        BoundaryMetric(**arguments)


def test_wrong_maps_name_the_picture(samples):
    samples[2]['pred_boundary']['data'] *= 4
    with pytest.raises(DataError, match=r'images/2.png.*not logits'):
        run(BoundaryMetric(), samples)
    samples[2]['pred_boundary']['data'] *= float('nan')
    with pytest.raises(DataError, match=r'images/2.png holds NaN'):
        run(BoundaryMetric(), samples)
    samples[2]['pred_boundary']['data'] = torch.zeros(1, 3, 3)
    with pytest.raises(ShapeError, match=r'\(3, 3\).*\(48, 64\).*images/2.png'):
        run(BoundaryMetric(), samples)


def start(out, pictures=5, workers=0, cache='', size=40, **environ):
    arguments = [str(value) for value in (cache, pictures, workers, out, size)]
    environ = {**os.environ, 'OMP_NUM_THREADS': '1', **environ}
    return subprocess.Popen([sys.executable, str(SCRIPT), *arguments], env=environ)


@pytest.mark.slow
def test_two_processes_with_a_padded_sampler_give_the_same_numbers(tmp_path):
    outs = [tmp_path / 'one.json', tmp_path / 'two.json']
    runs = [start(outs[0])]
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = str(probe.getsockname()[1])
    for rank in range(2):
        place = dict(RANK=str(rank), WORLD_SIZE='2', MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
        runs.append(start(outs[1], workers=1, **place))
    assert [process.wait(120) for process in runs] == [0, 0, 0]
    one, two = (json.loads(path.read_text()) for path in outs)
    assert one == two


@pytest.mark.slow
@pytest.mark.parametrize('from_file', [True, False])
def test_script_without_a_main_guard_may_use_workers(tmp_path, from_file):
    script = tmp_path / 'script.py'
    script.write_text(
        'import numpy as np\n'
        'from mmdense.evaluation import BoundaryMetric\n'
        'metric = BoundaryMetric(workers=2, thresholds=[0.5], nms=False)\n'
        'edges = np.eye(30, dtype=np.uint8)\n'
        'for _ in range(3):\n'
        '    metric.process(None, [dict(pred_boundary=edges / 1.0, gt_boundary=edges)])\n'
        "print('odsF', metric.evaluate(3)['boundary/odsF'])\n"
    )
    command = [sys.executable, str(script)] if from_file else [sys.executable, '-']
    done = subprocess.run(
        command, input=script.read_text(), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()].count('odsF') == 1


@pytest.mark.slow
def test_killed_evaluation_goes_on_and_its_workers_end(tmp_path):
    cache, out = tmp_path / 'cache', tmp_path / 'killed.json'
    process = start(out, pictures=24, workers=2, cache=cache, size=300)
    deadline = time.monotonic() + 60
    while len(list(cache.glob('*.counts'))) < 4:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    children = descendants(process.pid)
    assert len(children) >= 2
    process.send_signal(signal.SIGKILL)
    process.wait()
    while any(Path(f'/proc/{pid}').exists() and not is_zombie(pid) for pid in children):
        assert time.monotonic() < deadline, 'workers of the killed evaluation go on'
        time.sleep(0.05)
    kept = {path: path.stat().st_mtime_ns for path in cache.glob('*.counts')}
    assert 4 <= len(kept) < 24
    assert start(out, pictures=24, workers=2, cache=cache, size=300).wait(120) == 0
    assert all(path.stat().st_mtime_ns == then for path, then in kept.items())
    assert len(list(cache.glob('*.counts'))) == 24
    fresh = tmp_path / 'fresh.json'
    assert start(fresh, pictures=24, size=300).wait(120) == 0
    assert json.loads(out.read_text()) == json.loads(fresh.read_text())


def descendants(pid):
    """Ids of all processes below ``pid``."""
    parents = {}
    for stat in Path('/proc').glob('[0-9]*/stat'):
        try:
            fields = stat.read_text().rsplit(')', 1)[1].split()
        except OSError:
            continue
        parents[int(stat.parent.name)] = int(fields[1])
    found = {pid}
    for _ in range(4):
        found |= {child for child, parent in parents.items() if parent in found}
    return found - {pid}


def is_zombie(pid):
    try:
        return Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0] == 'Z'
    except OSError:
        return True
