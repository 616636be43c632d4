import json
import os
import re
import tarfile

import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mmdense.datasets.pascal_context import context_boundaries
from mmdense.datasets.pascal_normals import find_normal_categories, normal_categories
from mmdense.datasets.pascal_parts import PART_GRANULARITIES, part_labels
from mmdense.tasks import Part
from mmdense.utils import DataError

SIZE = (12, 16)
NAMES = [
    'hair', 'head', 'lear', 'rear', 'lebrow', 'rebrow', 'leye', 'reye', 'mouth', 'nose', 'neck',
    'torso', 'luarm', 'ruarm', 'llarm', 'rlarm', 'lhand', 'rhand', 'luleg', 'ruleg', 'llleg',
    'rlleg', 'lfoot', 'rfoot',
]  # fmt: skip


# -- boundaries ---------------------------------------------------------------


def test_boundaries_cancel_where_the_laplacian_does():
    """A ramp of labels has no curvature inside: only its ends are boundaries."""
    ramp = np.tile(np.arange(8) * 3, (5, 1))
    # The mirrored border doubles the one inner neighbour, so the first and last column count.
    expected = np.zeros((5, 8))
    expected[:, [0, -1]] = 1
    assert np.array_equal(context_boundaries(ramp), expected)
    step = np.repeat([1, 2], 4)[None].repeat(6, 0)
    assert context_boundaries(step)[:, [2, 5]].sum() == 0
    # Both sides of a step curve; thinning leaves one pixel of the two in every row.
    assert (context_boundaries(step)[1:-1].sum(axis=1) == 1).all()
    assert context_boundaries(np.full((5, 5), 7)).sum() == 0


@settings(max_examples=40, deadline=None)
@given(arrays(np.int16, (9, 11), elements=st.integers(0, 4)))
def test_boundaries_equal_the_laplacian_written_out(labels):
    from skimage.morphology import thin

    curved = np.zeros(labels.shape, bool)
    height, width = labels.shape
    for i in range(height):
        for j in range(width):
            around = [
                labels[abs(i + di) if i + di < height else 2 * height - 2 - i - di]
                      [abs(j + dj) if j + dj < width else 2 * width - 2 - j - dj]
                for di, dj in ((-1, 0), (1, 0), (0, -1), (0, 1))
            ]  # fmt: skip
            curved[i, j] = sum(map(int, around)) != 4 * int(labels[i, j])
    assert np.array_equal(context_boundaries(labels), thin(curved))


def test_test_mode_hands_the_context_map_to_the_metric(make_tree):
    tree = make_tree('pascal')
    pack = [dict(type='mmdense.PackDenseInputs')]
    sample = tree.build(['boundary'], test_mode=True, pipeline=pack)[0]['data_samples']
    context = tree.truth['2008_000002']['context']
    assert np.array_equal(sample.gt_context.data[0].numpy(), context)
    assert 'aux' not in tree.build(['boundary'])[0]
    assert 'aux' not in tree.build(['semseg', 'normal'], test_mode=True)[0]


# -- semantic labels ----------------------------------------------------------


def test_voc_labels_are_preferred_and_context_labels_fill_in(make_tree, save):
    tree = make_tree('pascal')
    for stem in tree.truth:
        save(tree.root / f'semseg/pascal-context/{stem}.png', np.full(SIZE, 9, np.uint8))
    tree.files['semseg'].unlink()
    dataset = tree.build(['semseg'])
    assert (dataset[0]['gt']['semseg'] == 9).all()
    assert np.array_equal(dataset[1]['gt']['semseg'], tree.truth['2008_000003']['semseg'])


# -- parts --------------------------------------------------------------------


@pytest.mark.parametrize('granularity', [1, 4, 6, 14])
def test_all_24_parts_have_a_label(granularity):
    table = part_labels(granularity)
    assert sorted(table) == sorted(NAMES)
    assert set(table.values()) == set(range(1, granularity + 1))
    assert len(PART_GRANULARITIES[granularity]) == granularity + 1
    with pytest.raises(ValueError, match=r'part_granularity is 5.*\[1, 4, 6, 14\]'):
        part_labels(5)


def test_the_usual_six_parts():
    groups = {
        1: 'hair head lear rear lebrow rebrow leye reye mouth nose',
        2: 'neck torso',
        3: 'luarm ruarm',
        4: 'llarm rlarm lhand rhand',
        5: 'luleg ruleg',
        6: 'llleg rlleg lfoot rfoot',
    }
    assert part_labels(6) == {name: k for k, names in groups.items() for name in names.split()}
    names = PART_GRANULARITIES[14]
    assert names[part_labels(14)['rfoot']] == 'foot' and names[part_labels(14)['lear']] == 'ear'


def box(*rows_columns):
    mask = np.zeros(SIZE, np.uint8)
    top, bottom, left, right = rows_columns
    mask[top:bottom, left:right] = 1
    return mask


def test_later_parts_and_persons_overwrite_earlier_ones(make_tree, save, pascal_annotation):
    tree = make_tree('pascal')
    first, second = box(0, 6, 0, 6), box(3, 9, 3, 9)
    objects = [
        ('person', 15, first, [('torso', first), ('head', second)]),
        ('cat', 8, box(0, 12, 0, 16), [('torso', box(0, 12, 0, 16))]),
        ('person', 15, box(0, 12, 0, 16), []),  # without parts: background
        ('person', 15, second, [('lfoot', box(5, 7, 0, 16))]),
    ]
    save(tree.files['part'], pascal_annotation(objects))
    expected = np.zeros(SIZE)
    expected[first == 1] = 2
    expected[second == 1] = 1
    expected[5:7] = 6
    assert np.array_equal(tree.build(['part'])[0]['gt']['part'], expected)
    four = tree.cls(
        dict(part=dict(type='Part', num_classes=5)), data_root=str(tree.root), part_granularity=4
    )
    expected[5:7] = 4
    assert np.array_equal(four[0]['gt']['part'], expected)
    assert four.metainfo['task_classes']['part'][3] == 'arm'
    with pytest.raises(ValueError, match=r"tasks\['part'\].num_classes is 7.*5 classes"):
        tree.build(['part'], part_granularity=4)


@pytest.mark.parametrize(
    'objects',
    [[], [('cat', 8, box(0, 5, 0, 5), [('head', box(0, 2, 0, 2))])],
     [('person', 15, box(0, 5, 0, 5), [])],
     [('person', 15, box(0, 5, 0, 5), [('head', box(0, 0, 0, 0))])]],
)  # fmt: skip
def test_a_picture_without_part_pixels_is_unknown(make_tree, save, pascal_annotation, objects):
    tree = make_tree('pascal')
    save(tree.files['part'], pascal_annotation(objects))
    part = tree.build(['part', 'semseg'])[0]['gt']['part']
    assert part.shape == SIZE and (part == 255).all()


def test_a_crop_without_part_pixels_becomes_unknown():
    task = Part()
    gt = np.zeros((4, 5), np.uint8)
    gt[0] = 255
    assert (task.after_geometry(gt) == 255).all()
    gt[2, 2] = 3
    assert task.after_geometry(gt) is gt


def test_parts_that_cannot_be_are_refused(make_tree, save, pascal_annotation):
    tree = make_tree('pascal')
    dataset = tree.build(['part'])
    whole = box(0, 5, 0, 5)
    for objects, words in (
        ([('person', 15, whole, [('tail', whole)])], "the part 'tail'; known are hair"),
        ([('person', 15, whole, [('head', whole[:5])])], r"'head' is \(5, 16\)"),
    ):
        save(tree.files['part'], pascal_annotation(objects))
        with pytest.raises(DataError, match=rf'2008_000002.mat: .*{words}'):
            dataset[0]
    save(tree.files['part'], dict(anno=np.eye(3)))
    with pytest.raises(DataError, match='not laid out as PASCAL-Part'):
        dataset[0]


def only_cats(tree, save, pascal_annotation):
    save(tree.files['part'], pascal_annotation([('cat', 8, box(0, 5, 0, 5), [])]))
    return tree.root / 'ImageSets/Parts/train.txt'


def test_pictures_without_persons_are_dropped_if_parts_are_all(make_tree, save, pascal_annotation):
    tree = make_tree('pascal')
    cache = only_cats(tree, save, pascal_annotation)
    dataset = tree.build(['part'])
    assert [dataset[i]['sample_id'] for i in range(len(dataset))] == ['2008_000003']
    assert json.loads(cache.read_text()) == {'2008_000002': [8], '2008_000003': [12, 15]}
    assert len(tree.build(['part', 'semseg'])) == 2
    # The cache is believed while its pictures are those of the split ...
    cache.write_text(json.dumps({'2008_000002': [15], '2008_000003': [8]}))
    dataset = tree.build(['part'])
    assert [dataset[i]['sample_id'] for i in range(len(dataset))] == ['2008_000002']
    # ... and made again if they are not, or if it is damaged.
    for content in (
        json.dumps({'2008_000002': [15]}),
        '{',
        json.dumps([1]),
        '{"2008_000002": "a"}',
    ):
        cache.write_text(content)
        assert len(tree.build(['part'])) == 1
        assert json.loads(cache.read_text())['2008_000003'] == [12, 15]


def test_damaged_parts_stay_on_the_list_to_be_skipped(make_tree):
    tree = make_tree('pascal')
    tree.files['part'].write_bytes(b'<html>404</html>')
    with pytest.raises(DataError, match=re.escape(str(tree.files['part']))):
        tree.build(['part'])
    dataset = tree.build(['part'], on_error='skip', test_mode=True)
    assert dataset[0]['unreadable'] and 'unreadable' not in dataset[1]
    assert not (tree.root / 'ImageSets/Parts/train.txt').exists()  # the file may be mended


@pytest.mark.parametrize(
    'content',
    [
        'text',
        {'a': 1},
        np.array([[1, 'a']], object),
        np.ones((12, 16), complex),
        np.ones((12, 16)) / 2,
    ],
)
def test_another_variable_as_label_map_is_refused(make_tree, content):
    tree = make_tree('pascal')
    scipy.io.savemat(tree.files['boundary'], dict(LabelMap=content))
    with pytest.raises(DataError, match='expected whole numbers') as caught:
        tree.build(['boundary'])[0]
    assert tree.files['boundary'].name in str(caught.value)


def test_a_read_only_folder_only_costs_time(make_tree, save, pascal_annotation, monkeypatch):
    import mmdense.datasets.pascal_parts as module

    tree = make_tree('pascal')
    cache = only_cats(tree, save, pascal_annotation)

    def refuse(path, text):
        raise PermissionError(13, 'read-only', os.fspath(path))

    warnings = []
    monkeypatch.setattr(module, 'atomic_write_text', refuse)
    monkeypatch.setattr(module, 'print_log', lambda text, **_: warnings.append(text))
    assert len(tree.build(['part'])) == 1
    assert not cache.exists()
    assert len([text for text in warnings if 'cannot be kept' in text]) == 1


def test_from_an_archive_the_objects_are_listed_by_every_start(make_tree, tmp_path):
    tree = make_tree('pascal')
    with tarfile.open(tmp_path / 'all.tar', 'w') as archive:
        archive.add(tree.root, '.')
    for _ in range(2):
        options = dict(root=tmp_path / 'all.tar', backend_args=dict(backend='tar_shards'))
        assert len(tree.build(['part'], **options)) == 2


# -- saliency and normals -----------------------------------------------------


def test_nearly_black_saliency_is_zero(make_tree, save):
    tree = make_tree('pascal')
    save(tree.files['saliency'], np.ones(SIZE, np.uint8))
    assert (tree.build(['saliency'])[0]['gt']['saliency'] == 0).all()


def test_normals_are_known_where_the_category_has_them(make_tree):
    tree = make_tree('pascal')
    expected = tree.truth['2008_000002']
    gt = tree.build(['normal'])[0]['gt']['normal']
    assert np.array_equal((gt != 0).any(-1), np.isin(expected['context'], (440, 158, 284)))
    everywhere = tree.build(['normal'], normal_valid='all', normal_ids=None)[0]['gt']['normal']
    assert (everywhere != 0).any(-1).all()
    assert np.allclose(np.linalg.norm(everywhere, axis=-1), 1, atol=1e-5)
    raw = tree.build(['normal'], normal_valid='all', unit_normals=False)[0]['gt']['normal']
    assert np.allclose(raw / np.linalg.norm(raw, axis=-1, keepdims=True), everywhere, atol=1e-6)
    assert not np.allclose(np.linalg.norm(raw, axis=-1), 1, atol=1e-2)
    with pytest.raises(ValueError, match='normal_valid'):
        tree.build(['normal'], normal_valid='some')


def context_names():
    names = {number: f'category {number}' for number in range(1, 460)}
    names.update({440: 'wall', 158: 'floor', 284: 'person', 59: 'car', 397: 'table', 72: 'chair',
                  427: 'tvmonitor', 360: 'sky'})  # fmt: skip
    return names


def test_valid_categories_are_the_shared_names_and_tvmonitor(make_tree):
    shared = ['wall', 'floor', 'person', 'car', 'table', 'chair']
    assert normal_categories(context_names(), [*shared, 'faucet']) == [
        59, 72, 158, 284, 397, 427, 440,
    ]  # fmt: skip
    assert 431 not in normal_categories({431: 'unknown', 440: 'wall'}, ['unknown', 'wall'])


def test_published_categories_of_normals():
    """169 shared names and tvmonitor; among them those that every source names."""
    ids = find_normal_categories('nowhere')
    assert len(ids) == 170 == len(set(ids))
    assert {440, 158, 284, 59, 397, 72, 427} <= set(ids)
    # sky, grass, road, unknown
    assert not {360, 187, 324, 431} & set(ids)


def test_a_list_beside_the_data_takes_the_place_of_the_published_one(make_tree):
    tree = make_tree('pascal')
    context = tree.truth['2008_000002']['context']
    published = tree.build(['normal'], normal_ids=None)
    (tree.root / 'normal_ids.txt').write_text('# shared\n440 wall\n158: floor\n')
    listed = tree.build(['normal'], normal_ids=None)
    for dataset, ids in ((published, find_normal_categories('nowhere')), (listed, [440, 158])):
        gt = dataset[0]['gt']['normal']
        assert np.array_equal((gt != 0).any(-1), np.isin(context, ids))


@pytest.mark.parametrize(
    ('ids', 'words'),
    [([0], 'among them 0'), ([460], 'among them 460'), ([], '0 categories')],
)
def test_impossible_categories_are_refused(make_tree, ids, words):
    with pytest.raises(DataError, match=f'normal_ids.*{words}'):
        make_tree('pascal').build(['normal'], normal_ids=ids)


def test_lists_of_categories_are_read_from_anywhere(make_tree, tmp_path):
    tree = make_tree('pascal')
    (tmp_path / 'ids.txt').write_text('wall\n')
    with pytest.raises(DataError, match=r"ids.txt: 'wall' is no category number"):
        tree.build(['normal'], normal_ids=str(tmp_path / 'ids.txt'))
    with pytest.raises(DataError, match=r'none.txt: the file does not exist'):
        tree.build(['normal'], normal_ids=str(tmp_path / 'none.txt'))
