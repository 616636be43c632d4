import doctest
import importlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmdense.evaluation import (
    Backbone,
    DeltaM,
    MultiTaskEvaluator,
    Reference,
    ReferenceValue,
    Setting,
    SettingMismatch,
    delta_m,
    load_reference,
    save_reference,
    task_gains,
)
from mmdense.evaluation.multi_task_evaluator import results_table
from mmdense.registry import EVALUATORS
from mmdense.utils import DataError

UP = {'semseg/mIoU': True, 'depth/rmse': False, 'depth/abs_rel': False, 'normal/mean': False}


@pytest.mark.parametrize('name', ['mmdense.evaluation.delta_m', 'mmdense.engine.run_facts'])
def test_examples_of_the_docstrings(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


# DeMT (AAAI 2023), Table 1: HRNet18, single task, multi-task baseline and ATRC.
STL = {'semseg/mIoU': 0.3802, 'depth/rmse': 0.6104, 'normal/mean': 20.94, 'boundary/odsF': 0.7622}
DIRECTIONS = dict(UP, **{'boundary/odsF': True})


@pytest.mark.parametrize(
    ('row', 'printed'),
    [((36.35, 0.6284, 21.02, 76.36), -1.89), ((38.90, 0.6010, 20.48, 76.34), 1.56)],
)
def test_published_rows_give_the_published_gain(row, printed):
    scale = (100, 1, 1, 100)
    values = {name: value / s for name, value, s in zip(STL, row, scale)}
    assert delta_m(values, STL, DIRECTIONS) == pytest.approx(printed, abs=0.011)


def test_metrics_are_averaged_within_a_task_first():
    base = {'semseg/mIoU': 0.5, 'depth/rmse': 1.0, 'depth/abs_rel': 0.2}
    values = {'semseg/mIoU': 0.55, 'depth/rmse': 0.9, 'depth/abs_rel': 0.26}
    gains = task_gains(values, base, UP)
    assert gains == {'semseg': pytest.approx(10), 'depth': pytest.approx((10 - 30) / 2)}
    # Not the mean over the three metrics, which would be (10 + 10 - 30) / 3.
    assert delta_m(values, base, UP) == pytest.approx(0, abs=1e-9)


positive = st.floats(1e-3, 1e3)


@given(base=st.tuples(positive, positive), factor=positive, scale=positive)
def test_gain_depends_on_ratios_alone(base, factor, scale):
    names = ('semseg/mIoU', 'depth/rmse')
    values = {names[0]: base[0] * factor, names[1]: base[1]}
    gain = delta_m(values, dict(zip(names, base)), UP)
    assert gain == pytest.approx(100 * (factor - 1) / 2, rel=1e-9, abs=1e-6)
    scaled = {name: value * scale for name, value in values.items()}
    again = delta_m(scaled, {n: b * scale for n, b in zip(names, base)}, UP)
    assert again == pytest.approx(gain, rel=1e-6, abs=1e-6)
    # The same change with the directions turned round has the opposite sign.
    turned = {name: not UP[name] for name in names}
    assert delta_m(values, dict(zip(names, base)), turned) == pytest.approx(-gain)


@pytest.mark.parametrize('bad', [0.0, -1.0, math.nan, math.inf])
def test_unusable_references_are_refused(bad):
    with pytest.raises(ValueError, match=r'reference of depth/rmse is'):
        delta_m({'depth/rmse': 1.0}, {'depth/rmse': bad}, UP)


def test_missing_references_are_named_and_missing_numbers_stay_nan():
    with pytest.raises(ValueError, match=r"no reference for depth/rmse.*Did you mean 'depth/rms'"):
        delta_m({'depth/rmse': 1.0}, {'depth/rms': 1.0}, UP)
    with pytest.raises(ValueError, match='no direction for depth/x'):
        delta_m({'depth/x': 1.0}, {'depth/x': 1.0}, UP)
    with pytest.raises(ValueError, match='no values'):
        delta_m({}, {}, UP)
    assert math.isnan(delta_m({'depth/rmse': math.nan}, {'depth/rmse': 1.0}, UP))


POOLED = MultiTaskEvaluator(dict(depth=dict(type='Depth'))).metrics[0].protocol
CONTENT = dict(
    name='single-task x',
    source='made up',
    backbone=dict(name='r18-thin', description='ResNet(depth=18)', weights='random'),
    data=dict(dataset='ToyRooms', split='val', pictures=2),
    schedule=dict(iterations=600, batch_size=8),
    metrics={
        'depth/rmse': dict(value=0.5, higher_is_better=False, protocol=POOLED),
        'depth/abs_rel': dict(value=0.1, higher_is_better=False, protocol=POOLED),
        'normal/mean': dict(value=20.0, higher_is_better=False, protocol='pooled over pixels'),
    },
)


def report_of(protocol=POOLED, pictures=2, run=None, **values):
    values = values or {'depth/rmse': 0.4}
    details = {
        name: dict(value=value, higher_is_better=False, protocol=protocol, percent=False, unit='m')
        for name, value in values.items()
    }
    report = dict(
        details=details,
        headlines={name.partition('/')[0]: name for name in values},
        pictures=pictures,
        metrics=dict(values),
    )
    return dict(report, run=run) if run else report


RUN = dict(
    backbone=dict(name='other', description='ResNet(depth=18)', weights='random'),
    data=dict(dataset='ToyRooms', split='val'),
    schedule=dict(iterations=600, batch_size=8),
)


def test_matching_report_scores_and_says_what_was_compared():
    found = DeltaM(CONTENT).score(report_of(run=RUN))
    assert found['delta_m'] == pytest.approx(20)
    assert found['gains'] == {'depth': pytest.approx(20)}
    assert (found['metrics'], found['overrides']) == (['depth/rmse'], [])
    assert found['unchecked'] == ['resolution']
    assert found['reference'] == dict(name='single-task x', source='made up')


@pytest.mark.parametrize(
    ('change', 'aspect', 'both'),
    [
        (dict(protocol='per picture'), 'protocol', ('per picture', POOLED)),
        (dict(pictures=3), 'pictures', ("'3'", "'2'")),
        (dict(run=dict(RUN, data=dict(dataset='B', split='val'))), 'data', ("'B'", "'ToyRooms'")),
        (dict(run=dict(RUN, data=dict(dataset='ToyRooms', split='test'))), 'data', ('test', 'val')),
        (
            dict(run=dict(RUN, backbone=dict(description='ResNet(depth=50)', weights='random'))),
            'backbone',
            ('depth=50', 'depth=18'),
        ),
        (
            dict(run=dict(RUN, backbone=dict(description='ResNet(depth=18)', weights='a.pth'))),
            'backbone',
            ('a.pth', 'random'),
        ),
        (
            dict(run=dict(RUN, schedule=dict(iterations=20, batch_size=8))),
            'schedule',
            ("'20'", "'600'"),
        ),
    ],
)
def test_mismatch_is_refused_with_both_sides_and_recorded_if_allowed(change, aspect, both):
    report = report_of(**{'run': RUN, **change})
    with pytest.raises(SettingMismatch) as caught:
        DeltaM(CONTENT).score(report)
    for text in (*both, repr(aspect)):
        assert text in str(caught.value)
    found = DeltaM(CONTENT, allow=(aspect,)).score(report)
    (override,) = found['overrides']
    assert override['aspect'] == aspect
    assert both[0].strip("'") in override['run']
    assert both[1].strip("'") in override['reference']
    with pytest.raises(SettingMismatch):
        others = tuple({'protocol', 'data', 'backbone'} - {aspect})
        DeltaM(CONTENT, allow=others).score(report)


def test_pictures_that_could_not_be_read_do_not_count():
    with pytest.raises(SettingMismatch, match="pictures: run '1', reference '2'"):
        DeltaM(CONTENT).score(dict(report_of(run=RUN), unreadable=1))
    assert DeltaM(CONTENT).score(dict(report_of(run=RUN, pictures=3), unreadable=1))['gains']


def test_opposite_direction_is_a_mismatch():
    report = report_of()
    report['details']['depth/rmse']['higher_is_better'] = True
    with pytest.raises(SettingMismatch, match='direction of depth/rmse'):
        DeltaM(CONTENT).score(report)


def test_choice_of_metrics():
    both = {'depth/rmse': 0.4, 'depth/abs_rel': 0.2}
    report = report_of(**both)
    report['headlines'] = dict(depth='depth/rmse')
    assert DeltaM(CONTENT, 'all').score(report)['gains']['depth'] == pytest.approx((20 - 100) / 2)
    assert DeltaM(CONTENT, dict(depth='abs_rel')).score(report)['delta_m'] == pytest.approx(-100)
    named = dict(CONTENT, headlines=dict(depth='depth/abs_rel'))
    assert DeltaM(named).score(report)['metrics'] == ['depth/abs_rel']
    with pytest.raises(ValueError, match=r'has no depth/rmsle.*depth/rmse, depth/abs_rel'):
        DeltaM(CONTENT, dict(depth='rmsle')).score(report)
    with pytest.raises(ValueError, match="choose 'headline', 'all'"):
        DeltaM(CONTENT, 'mean')
    with pytest.raises(ValueError, match="Did you mean 'protocol'"):
        DeltaM(CONTENT, allow=('protocols',))


def test_task_without_reference_is_named():
    with pytest.raises(ValueError, match=r'no number for task boundary; it has depth, normal'):
        DeltaM(CONTENT).score(report_of(**{'boundary/maxF': 0.4}))


def test_reference_survives_its_file(tmp_path):
    reference = Reference(
        name='n', source='s',
        metrics={'depth/rmse': ReferenceValue(0.1 + 0.2, False, 'p: "q", #r', std=0.01),
                 'semseg/mIoU': ReferenceValue(0.5, True, 'q')},
        setting=Setting('nyud', 'D', 'val', 3, '96x128', Backbone('b', 'B(x=1)', 'random'), 600, 8),
        profile='atrc', headlines=dict(depth='depth/rmse'), seeds=(0, 1),
        parameters=6e6, note='careful',
    )  # fmt: skip
    path = tmp_path / 'r.yaml'
    save_reference(reference, path)
    again = load_reference(path)
    assert again.path == str(path)
    assert Reference(**{**vars(again), 'path': ''}) == reference


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('[1, 2]', 'holds list'),
        ('a: [', 'no YAML'),
        ('name: x\nsource: y\nbackbone: z', '`metrics` is missing'),
        ('name: x\nsource: y\nbackbone: z\nmetrics: {}', '`metrics` is empty'),
        ('name: x\nsource: y\nmetrics: {a/b: {value: 1, higher_is_better: true, protocol: p}}',
         '`backbone` is missing'),
        ('metrics: {a/b: {value: x, higher_is_better: true, protocol: p}}', "value is 'x'"),
        ('metrics: {a/b: {value: .nan, higher_is_better: true, protocol: p}}', 'value is nan'),
        ('metrics: {a/b: {value: 1, higher_is_better: up, protocol: p}}', "is 'up'"),
        ('name: x\nsource: y\nbackbone: z\nheadlines: {a: a/c}\n'
         'metrics: {a/b: {value: 1, higher_is_better: true, protocol: p}}', r'headlines\[a\]'),
    ],
)  # fmt: skip
def test_unusable_reference_files_are_explained(tmp_path, text, message):
    path = tmp_path / 'r.yaml'
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        load_reference(path)


def test_missing_reference_file_suggests_a_neighbour(tmp_path):
    (tmp_path / 'rooms_r18.yaml').touch()
    with pytest.raises(DataError, match=r"no such reference file.*Did you mean 'rooms_r18\.yaml'"):
        load_reference(tmp_path / 'rooms_r17.yaml')


# -- in the evaluator and the runner ----------------------------------------------------------

TASKS = dict(depth=dict(type='Depth'))


def sample(pred, gt):
    return dict(
        pred_depth_map=dict(data=np.full((1, 2, 2), pred, np.float32)),
        gt_depth_map=dict(data=np.full((1, 2, 2), gt, np.float32)),
    )


def test_evaluator_adds_delta_m_to_results_report_and_table():
    config = dict(
        type='MultiTaskEvaluator', tasks=TASKS, metrics=None, delta_m=dict(reference=CONTENT)
    )
    evaluator = EVALUATORS.build(config)
    assert isinstance(evaluator, MultiTaskEvaluator)
    evaluator.metrics[0].process(None, [sample(1.4, 1.0), sample(2.4, 2.0)])
    results = evaluator.evaluate(2)
    assert results['delta_m'] == pytest.approx(20, abs=1e-4)
    assert results['delta_m/depth'] == pytest.approx(20, abs=1e-4)
    assert evaluator.report['metrics'] == results
    assert evaluator.report['delta_m']['metrics'] == ['depth/rmse']
    assert 'backbone' in evaluator.report['delta_m']['unchecked']
    table = results_table(evaluator.report)
    assert '+20.00 %' in table and 'against single-task x' in table
    # The number of pictures is known only now.
    evaluator.metrics[0].process(None, [sample(1.4, 1.0)])
    with pytest.raises(SettingMismatch, match='pictures'):
        evaluator.evaluate(1)


def test_evaluator_refuses_a_reference_before_any_picture():
    wrong = dict(CONTENT['metrics'])
    wrong['depth/rmse'] = dict(wrong['depth/rmse'], protocol='per picture')
    with pytest.raises(SettingMismatch, match='per picture'):
        MultiTaskEvaluator(TASKS, delta_m=dict(reference=dict(CONTENT, metrics=wrong)))
    with pytest.raises(ValueError, match='no number for task semseg'):
        MultiTaskEvaluator(
            dict(semseg=dict(type='SemSeg', num_classes=3)), delta_m=dict(reference=CONTENT)
        )
    # A task without its number must not shrink the mean to the other tasks.
    both = dict(TASKS, normal=dict(type='Normal'))
    with pytest.raises(DataError, match=r"'the run' has no depth/rmse"):
        MultiTaskEvaluator(both, dict(depth=[]), delta_m=dict(reference=CONTENT))
