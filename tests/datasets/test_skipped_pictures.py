"""What ``on_error='skip'`` left out reaches the log and the results, through worker processes."""

import json
import logging
from types import SimpleNamespace

import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.logging import MMLogger
from torch.utils.data import DataLoader

from mmdense.datasets import SeededInfiniteSampler
from mmdense.engine.hooks import SkippedPicturesHook
from mmdense.evaluation import MultiTaskEvaluator
from mmdense.evaluation.multi_task_evaluator import describe_pictures
from mmdense.utils import DataError

PIPELINE = [dict(type='mmdense.PackDenseInputs')]
RUNNER = SimpleNamespace()


@pytest.fixture
def lines():
    """Warnings of the current logger."""
    found = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: found.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield found
    logger.removeHandler(handler)


def broken_tree(make_tree):
    tree = make_tree('nyud')
    tree.files['img'].write_bytes(b'<html>404</html>')
    return tree


def summaries(lines):
    return [line for line in lines if 'unreadable pictures' in line]


@pytest.mark.parametrize('workers', [0, 2])
def test_training_sums_up_what_it_replaced(make_tree, lines, workers):
    tree = broken_tree(make_tree)
    dataset = tree.build(on_error='skip', pipeline=PIPELINE, indices=[0, 1])
    sampler = SeededInfiniteSampler(dataset, seed=3)
    loader = DataLoader(
        dataset, batch_size=2, sampler=sampler, num_workers=workers, collate_fn=pseudo_collate
    )
    hook = SkippedPicturesHook()
    replaced = 0
    for step, batch in zip(range(6), loader):
        hook.after_train_iter(RUNNER, step, batch)
        names = [sample.sample_id for sample in batch['data_samples']]
        assert next(iter(tree.truth)) not in names
        replaced += sum(len(x.metainfo.get('replaces', ())) for x in batch['data_samples'])
    # Two pictures, of which each pass draws both: at least half of the draws failed.
    assert replaced >= 6
    assert hook.counts == {str(tree.files['img']): replaced}
    assert not summaries(lines)
    hook.before_val(RUNNER)
    hook.after_train(RUNNER)
    assert len(summaries(lines)) == 2
    text = summaries(lines)[0]
    assert f'{replaced} draws fell on unreadable pictures, 1 in number' in text
    assert '12 samples' in text
    assert f"'{tree.files['img']}' ({replaced})" in text


def test_nothing_is_said_of_data_without_faults(make_tree, lines):
    dataset = make_tree('nyud').build(on_error='skip', pipeline=PIPELINE)
    hook = SkippedPicturesHook()
    hook.after_train_iter(RUNNER, 0, pseudo_collate([dataset[0], dataset[1]]))
    hook.after_train_iter(RUNNER, 1, dict(inputs=torch.zeros(1)))
    hook.after_train(RUNNER)
    assert not lines and not hook.counts
    assert 'replaces' not in dataset[0]['data_samples'].metainfo


def test_every_failure_in_a_row_is_counted(make_tree):
    tree = broken_tree(make_tree)
    dataset = tree.build(on_error='skip', pipeline=PIPELINE)
    dataset._rand_another = iter([0, 0, 1]).__next__
    sample = dataset[0]['data_samples']
    assert sample.metainfo['replaces'] == (str(tree.files['img']),) * 3


def test_results_state_how_many_pictures_were_not_scored(make_tree, lines):
    tree = broken_tree(make_tree)
    dataset = tree.build(['depth'], on_error='skip', test_mode=True, pipeline=PIPELINE)
    evaluator = MultiTaskEvaluator(dict(depth=dict(type='Depth')))
    loader = DataLoader(dataset, batch_size=1, num_workers=1, collate_fn=pseudo_collate)
    for batch in loader:
        for sample in batch['data_samples']:
            sample.set_pred(dataset.tasks['depth'], torch.ones(1, *sample.ori_shape))
        evaluator.process(batch['data_samples'])
    evaluator.evaluate(len(dataset))
    report = json.loads(json.dumps(evaluator.report))
    assert (report['pictures'], report['unreadable']) == (3, 1)
    assert report['labelled'] == dict(depth=2) and report['resolution'] == {'12x16': 2}
    assert describe_pictures(report) == '3 pictures (1 unreadable) of 12x16'
    assert any('1 of 3 pictures could not be read and were not scored' in line for line in lines)


def test_a_run_without_any_readable_picture_ends(make_tree):
    tree = broken_tree(make_tree)
    dataset = tree.build(on_error='skip', indices=[0], max_refetch=2)
    with pytest.raises(DataError, match=f'3 pictures in a row.*{tree.files["img"].name}'):
        dataset[0]
