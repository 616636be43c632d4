import json
import re
from pathlib import Path

import numpy as np
import pytest

from mmdense.evaluation import (
    DEFAULT_PROFILES,
    PROFILES,
    DepthMetric,
    MultiTaskEvaluator,
    choose_profile,
    describe_profiles,
    results_table,
)
from mmdense.registry import METRICS
from mmdense.structures import DenseDataSample
from mmdense.tasks import build_tasks
from mmdense.utils import DataError

TASKS = dict(
    semseg=dict(type='SemSeg', num_classes=4),
    depth=dict(type='Depth'),
    normal=dict(type='Normal'),
    saliency=dict(type='Saliency'),
    part=dict(type='Part'),
)
ROWS = describe_profiles()


@pytest.mark.parametrize('profile', PROFILES)
def test_every_metric_of_a_profile_builds_and_has_its_headline(profile):
    tasks = build_tasks(
        dict(
            TASKS,
            boundary=dict(type='Boundary'),
        )
    )
    for data, protocols in PROFILES[profile].items():
        for key, protocol in protocols.items():
            names: set[str] = set()
            for cfg in protocol.metrics:
                metric = METRICS.build(dict(cfg), default_args=dict(task=tasks[key]))
                names |= set(metric.higher_is_better)
                assert metric.protocol
            assert protocol.headline in names, (data, key)


def protocol(profile, data, task):
    (cfg,) = choose_profile(profile, data, [task])[task].metrics
    return cfg


def test_profiles_hold_the_published_variants():
    assert protocol('atrc', 'nyud', 'semseg')['absent'] == 'zero'
    assert protocol('libmtl', 'nyuv2', 'semseg')['absent'] == 'nan'
    assert protocol('emanet', 'nyuv2', 'semseg')['absent'] == 'skip'
    assert protocol('ctal', 'nyuv2', 'semseg')['absent'] == 'skip'
    assert protocol('ctal', 'nyuv2', 'depth')['clamp'] == 1e-9
    assert protocol('ctal', 'pascal', 'semseg')['absent'] == 'zero'
    assert 'sigmoid_again' not in protocol('ctal', 'pascal', 'saliency')
    assert protocol('mtan', 'nyuv2', 'semseg')['average'] == 'image'
    assert protocol('atrc', 'nyud', 'depth')['clamp'] == 0
    assert protocol('invpt', 'nyud', 'depth')['clamp'] == 1e-9
    assert protocol('mtcp', 'nyud', 'depth')['max_depth'] == 6.5535
    assert protocol('taskprompter', 'cityscapes', 'depth')['max_depth'] == 80
    assert 'max_depth' not in protocol('atrc', 'nyud', 'depth')
    assert protocol('eigen', 'nyud', 'depth')['crop'] == 'eigen'
    assert protocol('mti', 'pascal', 'normal')['quantize'] == 'uint8'
    assert protocol('mti', 'pascal', 'part')['skip_images'] == 'single_value'
    assert protocol('atrc', 'pascal', 'part')['skip_images'] == 'background'
    assert protocol('invpt', 'pascal', 'saliency')['sigmoid_again']
    assert protocol('mti', 'pascal', 'saliency')['thresholds'][3] == 0.35
    assert protocol('atrc', 'nyud', 'boundary')['max_dist'] == 0.011
    assert protocol('atrc', 'pascal', 'boundary')['max_dist'] == 0.0075
    assert not protocol('mti', 'pascal', 'boundary')['nms']
    assert choose_profile('mti', 'pascal', ['saliency'])['saliency'].headline == 'mIoU'
    assert choose_profile('libmtl', 'cityscapes', ['depth'])['depth'].headline == 'abs_err'
    chosen = choose_profile('ctal', 'nyuv2', ['semseg', 'depth', 'normal'])
    assert [task.headline for task in chosen.values()] == ['mIoU', 'abs_rel', 'mean']
    edge = choose_profile('ctal', 'pascal', ['boundary'])['boundary']
    assert edge.headline == 'loss' and edge.metrics[1]['type'] == 'BoundaryMetric'
    assert len(ROWS) == len({tuple(row.values()) for row in ROWS})


def test_default_profile_of_a_data_set():
    assert DEFAULT_PROFILES['nyud'] == DEFAULT_PROFILES['pascal'] == 'atrc'
    evaluator = MultiTaskEvaluator(tasks=dict(depth=TASKS['depth']), metrics=None, data='nyud')
    assert evaluator.profile == 'atrc'
    assert evaluator.metrics[0].clamp == 0


def test_unknown_names_are_suggested():
    def make(tasks=('depth',), **options):
        return MultiTaskEvaluator(tasks={key: TASKS[key] for key in tasks}, **options)

    with pytest.raises(KeyError, match=r"profile is 'atr'.*Did you mean 'atrc'"):
        make(profile='atr', data='nyud')
    with pytest.raises(KeyError, match=r"does not say how to score data='nyudv2'.*'nyud'"):
        make(profile='atrc', data='nyudv2')
    with pytest.raises(KeyError, match='data=None'):
        make(profile='atrc')
    with pytest.raises(KeyError, match="data is 'kitti', a data set without a usual profile"):
        make(data='kitti')
    with pytest.raises(KeyError, match=r"no task 'semseg' on data='nyud'.*metrics=dict\(semseg"):
        make(tasks=('semseg', 'depth'), profile='eigen', data='nyud')


def sample(tasks, maps, **meta):
    made = DenseDataSample(metainfo=dict(img_path='a.png', **meta))
    for key, value in maps.items():
        made.set_gt(tasks[key], tasks[key].to_tensor(value))
        made.set_pred(tasks[key], tasks[key].to_tensor(value))
    return made


def saliency(size):
    gt = np.zeros(size, np.uint8)
    gt[: size[0] // 2] = 1
    return gt


def test_report_carries_profile_resolution_and_headlines_of_the_profile():
    config = dict(saliency=TASKS['saliency'], depth=TASKS['depth'])
    tasks = build_tasks(config)
    evaluator = MultiTaskEvaluator(
        tasks=config,
        metrics=dict(depth=[dict(type='DepthMetric', average='image')]),
        profile='mti',
        data='pascal',
    )
    sizes = [(4, 6), (6, 4), (4, 6)]
    for index, size in enumerate(sizes):
        maps = dict(saliency=saliency(size))
        if index < 2:
            maps['depth'] = np.ones(size, np.float32)
        evaluator.process([sample(tasks, maps)])
    evaluator.process([sample(tasks, {})])
    evaluator.evaluate(4)
    report = evaluator.report
    assert report['profile'] == 'mti'
    assert report['data'] == 'pascal'
    assert list(report['resolution'].items()) == [('4x6', 2), ('6x4', 1)]
    assert report['labelled'] == dict(saliency=3, depth=2)
    assert report['headlines'] == dict(saliency='saliency/mIoU', depth='depth/rmse')
    assert 'per picture, averaged' in report['details']['depth/rmse']['protocol']
    assert report['details']['saliency/mIoU']['protocol'] == evaluator.metrics[0].protocol
    table = results_table(report)
    assert '4 pictures of 2 sizes, 4x6 most often; profile mti on pascal' in table
    assert 'mIoU *' in table
    assert json.loads(json.dumps(report)) == report


def test_report_of_one_size_without_profile():
    config = dict(depth=TASKS['depth'])
    evaluator = MultiTaskEvaluator(tasks=config, metrics=None)
    gt = np.ones((4, 6), np.float32)
    evaluator.process([sample(build_tasks(config), dict(depth=gt))])
    evaluator.evaluate(1)
    assert evaluator.report['profile'] is None
    assert '1 pictures of 4x6 ' in results_table(evaluator.report)


def test_two_metrics_of_one_task_describe_their_own_numbers():
    config = dict(saliency=TASKS['saliency'])
    metrics = [dict(type='BinaryFMetric'), dict(type='EdgeLossMetric')]
    evaluator = MultiTaskEvaluator(tasks=config, metrics=dict(saliency=metrics))
    evaluator.process([sample(build_tasks(config), dict(saliency=saliency((4, 4))))])
    evaluator.evaluate(1)
    details = evaluator.report['details']
    assert 'not publishable' in details['saliency/loss']['protocol']
    assert not details['saliency/loss']['higher_is_better']
    assert 'thresholds' in details['saliency/maxF']['protocol']


def test_long_protocols_run_down_the_rows_of_their_metric():
    config = dict(saliency=TASKS['saliency'])
    metrics = [*choose_profile('mti', 'rooms', ['saliency'])['saliency'].metrics]
    metrics.append(dict(type='EdgeLossMetric', logit_of_probability=False, prefix='edge'))
    evaluator = MultiTaskEvaluator(tasks=config, metrics=dict(saliency=metrics))
    evaluator.process([sample(build_tasks(config), dict(saliency=saliency((4, 4))))])
    evaluator.evaluate(1)
    cells = [row.split('|')[5] for row in results_table(evaluator.report).splitlines()[3:-2]]
    words = ' '.join(' '.join(cells).split())
    assert words.startswith(' '.join(metric.protocol for metric in evaluator.metrics))
    assert max(map(len, cells)) < 70


def test_headline_of_other_metrics_is_their_first_number():
    metrics = dict(saliency=[dict(type='EdgeLossMetric')], depth=[dict(type='DepthMetric')])
    config = {key: TASKS[key] for key in metrics}
    evaluator = MultiTaskEvaluator(tasks=config, metrics=metrics)
    maps = dict(saliency=saliency((4, 4)), depth=np.ones((4, 4), np.float32))
    evaluator.process([sample(build_tasks(config), maps)])
    evaluator.evaluate(1)
    expected = dict(saliency='saliency/loss', depth='depth/rmse')
    assert evaluator.report['headlines'] == expected


def test_changing_a_chosen_profile_leaves_the_table_alone():
    chosen = choose_profile('atrc', 'nyud', ['depth'])
    chosen['depth'].metrics[0]['clamp'] = 5
    assert protocol('atrc', 'nyud', 'depth')['clamp'] == 0


def test_page_lists_every_profile_with_its_data_sets():
    page = (Path(__file__).parents[2] / 'docs' / 'evaluation.md').read_text()
    rows = [line.split('|') for line in page.splitlines() if line.startswith('| `')]
    listed = {cells[1].strip(' `'): set(re.findall('`([a-z0-9]+)`', cells[3])) for cells in rows}
    profiles = {name: set(sets) for name, sets in PROFILES.items()}
    assert {name: sets for name, sets in listed.items() if name in PROFILES} == profiles


def test_metric_keeps_working_alone():
    gt = np.full((2, 2), 2.0, np.float32)
    assert DepthMetric().score([(gt + 1, gt)])['rmse'] == 1


@pytest.mark.parametrize(
    ('split', 'subset'),
    [
        ('test_new', 'ImageSets/Context/test_new.txt'),
        ('val_new', 'ImageSets/Context/val_new.txt'),
        (None, None),
    ],
)
def test_pascal_boundaries_are_scored_on_the_list_of_the_data_set(split, subset, tmp_path):
    evaluator = MultiTaskEvaluator(
        dict(boundary=dict(type='Boundary')), profile='atrc', data='pascal', edge_split=split
    )
    (metric,) = evaluator.metrics
    assert metric.subset == subset
    assert metric.protocol.endswith('all pictures' if split is None else f'{split}.txt')
    if split is None:
        evaluator.dataset_meta = dict(data_root=str(tmp_path))
        return
    with pytest.raises(DataError, match=rf'{tmp_path}/{subset}.*edge_split=None'):
        evaluator.dataset_meta = dict(data_root=str(tmp_path))
    (tmp_path / subset).parent.mkdir(parents=True)
    (tmp_path / subset).write_text('a\n')
    evaluator.dataset_meta = dict(data_root=str(tmp_path))


def test_edge_split_leaves_other_data_alone():
    chosen = choose_profile('atrc', 'nyud', ['boundary'], edge_split='val_new')
    assert 'subset' not in chosen['boundary'].metrics[0]
