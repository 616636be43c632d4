import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from mmdense.datasets import BaseDenseDataset, SeededInfiniteSampler
from mmdense.utils import DataError

TASKS = dict(seg=dict(type='SemSeg', num_classes=3), depth=dict(type='Depth'))
BROKEN = 2


class Toy(BaseDenseDataset):
    """Six pictures; number 2 fails in the way that ``fault`` names, number 4 has no labels."""

    METAINFO = dict(classes=('a', 'b', 'c'))
    available_tasks = ('semseg', 'depth')
    setup_hint = 'Run `make toy` first.'
    default_size = (8, 9)
    fault = None

    def load_data_list(self):
        return [dict(sample_id=str(i), img_path=f'{i}.png') for i in range(6)]

    def read_sample(self, info):
        number = int(info['sample_id'])
        fault = self.fault if number == BROKEN else None
        if fault == 'oserror':
            raise OSError('disk gone')
        if fault == 'dataerror':
            raise DataError('2.png: is not an image')
        gt = dict(
            semseg=np.full((4, 5), 7 if fault == 'label' else number % 3, np.int64),
            depth=np.ones((4, 6 if fault == 'size' else 5)),
        )
        shape = (4, 5) if fault == 'grey' else (4, 5, 3)
        return dict(
            img=np.full(shape, number, np.uint8),
            gt={} if number == 4 else gt,
            img_path=f'{number}.png',
            sample_id=info['sample_id'],
        )


class Empty(Toy):
    def load_data_list(self):
        return []


def faulty(fault, **kwargs):
    dataset = Toy(TASKS, **kwargs)
    dataset.fault = fault
    return dataset


def test_sample_holds_checked_arrays_in_the_types_of_the_tasks():
    sample = Toy(TASKS)[1]
    assert sample['gt']['semseg'].dtype == np.uint8
    assert sample['gt']['depth'].dtype == np.float32
    assert list(sample['tasks']) == ['semseg', 'depth']
    assert sample['ori_shape'] == sample['img_shape'] == (4, 5)
    assert isinstance(sample['rng'], np.random.Generator)
    assert Toy(TASKS)[4]['gt'] == {}


def test_tasks_that_are_not_asked_for_are_left_out():
    assert list(Toy(dict(depth=dict(type='Depth')))[0]['gt']) == ['depth']


def test_metainfo_states_the_conventions_and_classes():
    tasks = dict(TASKS, depth=dict(type='Depth', kind='disparity_px'))
    meta = Toy(tasks, metainfo=dict(depth_kind='disparity_px')).metainfo
    assert meta['normal_axes'] == 'x-right y-up z-back'
    assert meta['depth_kind'] == 'disparity_px'
    assert meta['classes'] == ('a', 'b', 'c')


def test_depth_of_another_kind_than_the_task_s_is_refused():
    with pytest.raises(ValueError, match=r"kind is 'metric', but Toy reads 'inverse_norm'"):
        Toy(TASKS, metainfo=dict(depth_kind='inverse_norm'))


@pytest.mark.parametrize(('indices', 'ids'), [(2, '01'), (-2, '45'), ([5, 0], '50')])
def test_indices_choose_pictures(indices, ids):
    dataset = Toy(TASKS, indices=indices)
    assert ''.join(dataset[i]['sample_id'] for i in range(len(dataset))) == ids


@pytest.mark.parametrize(
    ('kwargs', 'error', 'words'),
    [
        (dict(tasks=dict(normal=dict(type='Normal'))), KeyError, 'normal.*Known: depth, semseg'),
        (dict(tasks=dict(seg=dict(type='SemSeg', num_classes=4))), ValueError, '4.*3 classes'),
        (dict(tasks=TASKS, on_error='ignore'), ValueError, "ignore.*'raise' or 'skip'"),
        (dict(tasks=TASKS, data_root='/no/such'), DataError, "data_root.*'/no/such'.*make toy"),
        (dict(tasks=TASKS, ann_file='/no/list.txt'), DataError, "ann_file.*'/no/list.txt'"),
        (dict(tasks=TASKS, data_root='/no', lazy_init=True), DataError, 'data_root'),
        (dict(tasks={}), ValueError, 'tasks'),
    ],
)
def test_wrong_configs_fail_at_build_with_the_key_and_the_remedy(kwargs, error, words):
    with pytest.raises(error, match=words):
        Toy(**kwargs)


def test_empty_data_set_fails_at_build():
    with pytest.raises(DataError, match=r'no picture is listed.*make toy'):
        Empty(TASKS)


@pytest.mark.parametrize(
    ('fault', 'words'),
    [
        ('dataerror', '2.png: is not an image'),
        ('label', r'2.png.*semseg.*\[7\]'),
        ('size', r'2.png.*depth.*\(4, 6\).*\(4, 5\)'),
        ('grey', r'2.png.*uint8 \(4, 5\)'),
    ],
)
def test_raise_names_file_and_value(fault, words):
    with pytest.raises(DataError, match=words):
        faulty(fault)[BROKEN]


@pytest.mark.parametrize('fault', ['dataerror', 'oserror', 'label', 'size', 'grey'])
def test_skip_in_training_draws_another_picture_and_counts(fault):
    dataset = faulty(fault, on_error='skip')
    for visit in range(1, 4):
        assert dataset[BROKEN]['sample_id'] != str(BROKEN)
        assert dataset.error_counts['2.png'] >= visit


@pytest.mark.parametrize('fault', ['dataerror', 'oserror', 'label', 'size', 'grey'])
def test_skip_in_tests_keeps_the_place_with_an_unlabelled_picture(fault):
    dataset = faulty(fault, on_error='skip', test_mode=True)
    samples = [dataset[i] for i in range(len(dataset))]
    assert [sample['sample_id'] for sample in samples] == list('012345')
    assert samples[BROKEN]['gt'] == {} and samples[BROKEN]['unreadable']
    assert samples[BROKEN]['img'].shape == (8, 9, 3)
    assert dataset.error_counts == {'2.png': 1}


def test_an_unreadable_picture_is_logged_once(capfd):
    dataset = faulty('dataerror', on_error='skip', test_mode=True)
    for _ in range(3):
        dataset[BROKEN]
    captured = capfd.readouterr()
    assert (captured.out + captured.err).count('2.png') <= 2  # one line, path and reason
    assert dataset.error_counts['2.png'] == 3


def test_training_gives_up_after_max_refetch():
    dataset = faulty('dataerror', on_error='skip', max_refetch=3, indices=[BROKEN])
    with pytest.raises(DataError, match=r'4 pictures in a row.*2.png'):
        dataset[0]


def test_same_seed_same_sample():
    dataset = Toy(TASKS)

    def draws(seed):
        np.random.seed(seed)
        return [dataset[i]['rng'].random() for i in range(3)]

    assert draws(1) == draws(1)
    assert draws(1) != draws(2)
    assert len(set(draws(1))) == 3


def draw(results):
    return dict(number=int(results['sample_id']), value=float(results['rng'].random()))


@pytest.mark.parametrize('fault', [None, 'dataerror'])
def test_workers_do_not_change_the_samples(fault):
    streams = []
    for workers in (0, 2):
        dataset = faulty(fault, on_error='skip', pipeline=[draw])
        loader = DataLoader(
            dataset,
            batch_size=2,
            num_workers=workers,
            sampler=SeededInfiniteSampler(dataset, shuffle=True, seed=3),
            collate_fn=list,
        )
        batches = iter(loader)
        streams.append([next(batches) for _ in range(8)])
    assert streams[0] == streams[1]
    numbers = {sample['number'] for batch in streams[0] for sample in batch}
    assert numbers == {0, 1, 3, 4, 5} | (set() if fault else {BROKEN})


def test_pipeline_to_tensors():
    sample = Toy(TASKS, pipeline=[dict(type='mmdense.PackDenseInputs')])[1]
    assert sample['inputs'].dtype == torch.uint8 and sample['inputs'].shape == (3, 4, 5)
    assert sample['data_samples'].gt_depth_map.data.shape == (1, 4, 5)
