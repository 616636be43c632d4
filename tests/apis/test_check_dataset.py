"""The check of a data set finds what was broken on purpose, and names it."""

import json

import cv2
import numpy as np
import pytest

from mmdense.apis.check_dataset import check_dataset
from mmdense.apis.check_report import draw_report, mirrors_text, report_text
from mmdense.apis.data_manifest import (
    compare,
    data_checksum,
    hash_files,
    manifest_text,
    read_manifest,
    write_manifest,
)
from mmdense.apis.map_statistics import axis_agreement, statistics_of
from mmdense.apis.named_datasets import NAMES, named_dataset
from mmdense.datasets.mirrors import known_mirrors
from mmdense.datasets.rooms.render import render_room
from mmdense.datasets.sources import RoomsSource
from mmdense.datasets.sources.rooms_mapping import normal_categories
from mmdense.datasets.writers import (
    CityscapesSmallWriter,
    CityscapesWriter,
    NYUDWriter,
    NYUv2Writer,
    PASCALContextWriter,
    TaskonomyWriter,
)
from mmdense.datasets.writers.convert import STATE_FILE, convert
from mmdense.tasks import build_tasks
from mmdense.utils import DataError

COUNT = 4
WRITERS = {
    'nyud': NYUDWriter,
    'nyuv2': NYUv2Writer,
    'pascal': lambda root: PASCALContextWriter(root, normal_categories()),
    'cityscapes': lambda root: CityscapesWriter(root, 'metric'),
    'cityscapes-small': CityscapesSmallWriter,
    'taskonomy': TaskonomyWriter,
}


def make(root, layout='nyud'):
    source = RoomsSource(layout, dict(train=COUNT), (96, 128))
    convert(source, WRITERS[layout](root), show=False)
    return named_dataset(layout, 'train', str(root))


@pytest.fixture
def nyud(tmp_path):
    return tmp_path, make(tmp_path)


@pytest.mark.parametrize('layout', WRITERS)
def test_every_layout_of_rooms_is_found_whole(tmp_path, layout):
    report = check_dataset(make(tmp_path, layout))
    assert report.all_problems() == []
    assert (report.pictures, report.read) == (COUNT, COUNT)
    assert report.sizes == {'96x128': COUNT}
    assert set(report.present.values()) == {COUNT}
    for statistics in report.statistics.values():
        assert statistics.pixels == COUNT * 96 * 128


def test_counts_are_those_of_the_arrays(nyud):
    _, cfg = nyud
    report = check_dataset(cfg)
    source = RoomsSource('nyud', dict(train=COUNT), (96, 128))
    maps = [source.read('train', index)['gt'] for index in range(COUNT)]
    labels = np.stack([one['semseg'] for one in maps])
    found = report.as_dict()['tasks']
    assert found['semseg']['counts']['wall'] == (labels == 0).sum()
    assert sum(found['semseg']['counts'].values()) == labels.size
    depth = np.stack([one['depth'] for one in maps])
    assert found['depth']['known_share'] == pytest.approx((depth > 0).mean())
    for percent, value in found['depth']['percentiles'].items():
        want = np.percentile(depth[depth > 0], percent)
        assert value == pytest.approx(want, rel=0.02), percent
    edges = np.stack([one['boundary'] for one in maps])
    assert found['boundary']['positive_share'] == pytest.approx(edges.mean())
    normal = np.stack([one['normal'] for one in maps])
    np.testing.assert_allclose(found['normal']['mean'], normal.mean((0, 1, 2)), atol=0.003)
    assert found['normal']['share_not_unit'] == 0
    json.dumps(report.as_dict())


def test_workers_find_the_same(nyud):
    _, cfg = nyud
    alone = check_dataset(cfg).as_dict()
    assert check_dataset(cfg, workers=2).as_dict() == alone


def test_a_missing_map_is_named(nyud):
    root, cfg = nyud
    (root / 'depth' / 'train_00002.npy').unlink()
    report = check_dataset(cfg)
    assert report.missing == {'depth': ['train_00002']}
    assert report.all_problems() == ['depth: 1 of 4 pictures lack it, for example train_00002']


def test_a_missing_picture_is_named(nyud):
    root, cfg = nyud
    (root / 'images' / 'train_00001.png').unlink()
    (fault,) = check_dataset(cfg).faults
    assert (fault.sample_id, fault.task) == ('train_00001', 'img')
    assert 'train_00001.png' in fault.message


def test_a_missing_folder_is_named_and_the_rest_is_read(nyud):
    root, cfg = nyud
    for path in (root / 'edge').iterdir():
        path.unlink()
    report = check_dataset(cfg)
    assert report.read == COUNT
    assert 'boundary' not in report.statistics
    assert any("'boundary' has no ground truth" in problem for problem in report.problems)


def test_a_label_out_of_range_is_named_with_its_value(nyud):
    root, cfg = nyud
    path = root / 'segmentation' / 'train_00003.png'
    labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    labels[0, 0] = 77
    cv2.imwrite(str(path), labels)
    (fault,) = check_dataset(cfg).faults
    assert (fault.sample_id, fault.task) == ('train_00003', 'semseg')
    assert 'train_00003.png' in fault.message
    assert '77' in fault.message


def test_a_truncated_png_is_named(nyud):
    root, cfg = nyud
    path = root / 'normals' / 'train_00000.png'
    path.write_bytes(path.read_bytes()[:-200])
    report = check_dataset(cfg)
    (fault,) = report.faults
    assert (fault.sample_id, fault.task) == ('train_00000', 'normal')
    assert report.read == COUNT - 1


def test_a_file_that_several_tasks_read_is_the_fault_of_those(tmp_path):
    cfg = make(tmp_path, 'pascal')
    path = next((tmp_path / 'pascal-context' / 'trainval').glob('*.mat'))
    path.write_bytes(path.read_bytes()[:200])
    (fault,) = check_dataset(cfg).faults
    assert (fault.sample_id, fault.task) == (path.stem, 'normal, boundary')
    assert path.name in fault.message


def test_two_faults_of_one_picture_are_both_named(nyud):
    root, cfg = nyud
    for path in (root / 'normals' / 'train_00000.png', root / 'depth' / 'train_00000.npy'):
        path.write_bytes(path.read_bytes()[:100])
    assert [fault.task for fault in check_dataset(cfg).faults] == ['depth', 'normal']


@pytest.mark.parametrize(('axis', 'name'), [(0, 'x'), (1, 'y')])
def test_a_flipped_axis_is_found(nyud, axis, name):
    root, cfg = nyud
    for path in (root / 'normals').iterdir():
        normals = cv2.imread(str(path))[..., ::-1].copy()
        normals[..., axis] = 255 - normals[..., axis]
        cv2.imwrite(str(path), normals[..., ::-1])
    (problem,) = check_dataset(cfg).all_problems()
    assert problem.startswith(f'normal: {name} has the sign of the slope of the depth at ')
    flipped = dict(x='x-left y-up z-back', y='x-right y-down z-back')[name]
    assert check_dataset({**cfg, 'normal_axes': flipped}).all_problems() == []


def test_normals_that_point_into_the_scene_are_found(nyud):
    _, cfg = nyud
    (problem,) = check_dataset({**cfg, 'normal_axes': 'x-right y-up z-front'}).all_problems()
    assert 'the mean z is -0.' in problem


def test_normals_that_are_no_unit_vectors_are_found(nyud):
    root, cfg = nyud
    for path in (root / 'normals').iterdir():
        stored = cv2.imread(str(path)).astype(float)
        cv2.imwrite(str(path), np.rint(127.5 + 0.8 * (stored - 127.5)))
    (problem,) = check_dataset(cfg).all_problems()
    assert '100.0 % of the vectors on disk have a length outside' in problem


def test_depth_in_millimetres_is_found(nyud):
    root, cfg = nyud
    for path in (root / 'depth').iterdir():
        np.save(path, 1000 * np.load(path))
    tasks = {**cfg['tasks'], 'depth': dict(type='Depth', max_depth=1e6)}
    (problem,) = check_dataset({**cfg, 'tasks': tasks}).all_problems()
    assert 'the unit on disk is another one' in problem


def test_an_unfinished_conversion_is_found(nyud):
    root, cfg = nyud
    state = json.loads((root / STATE_FILE).read_text())
    (root / STATE_FILE).write_text(json.dumps({**state, 'finished': False}))
    (problem,) = check_dataset(cfg).all_problems()
    assert 'the conversion did not finish' in problem
    # Stopped half-way it has no list of pictures yet.
    (root / 'gt_sets' / 'train.txt').unlink()
    with pytest.raises(DataError, match=r'the conversion did not finish.*train.txt'):
        check_dataset(cfg)


def test_a_data_set_that_is_not_there_is_one_error(tmp_path):
    with pytest.raises(DataError, match='does not exist'):
        check_dataset(named_dataset('nyud', 'train', str(tmp_path / 'nowhere')))


def test_a_limit_reads_part_of_the_pictures(nyud):
    _, cfg = nyud
    report = check_dataset(cfg, limit=2)
    assert (report.pictures, report.read) == (COUNT, 2)
    assert report.all_problems() == []


def test_text_names_the_problems(nyud):
    root, cfg = nyud
    (root / 'depth' / 'train_00002.npy').unlink()
    text = report_text(check_dataset(cfg))
    assert '1 problem:' in text
    assert 'train_00002' in text
    assert 'wall' in text
    assert 'signs as the slope of the depth: x 100 %, y 100 %' in text


def test_the_picture_has_a_panel_per_task(nyud, tmp_path):
    pytest.importorskip('matplotlib')
    _, cfg = nyud
    report = check_dataset(cfg)
    draw_report(report, tmp_path / 'check.png')
    four = cv2.imread(str(tmp_path / 'check.png'))
    draw_report(check_dataset({**cfg, 'tasks': dict(depth=dict(type='Depth'))}), tmp_path / 'a.png')
    one = cv2.imread(str(tmp_path / 'a.png'))
    assert four.shape[0] > 3 * one.shape[0]
    assert one.std() > 10


def test_many_pictures_without_depth_tell_up_from_down():
    task = build_tasks(dict(normal=dict(type='Normal')))['normal']
    up, down, few = (statistics_of(task) for _ in range(3))
    for index in range(100):
        normal = render_room(0, 'train', index, (12, 16)).gt['normal']
        up.update(normal, {})
        down.update(normal * [1, -1, 1], {})
        if index < 20:
            few.update(normal * [1, -1, 1], {})
    assert up.problems() == []
    assert few.problems() == []
    (problem,) = down.problems()
    assert 'y seems to point down' in problem


def test_histograms_hold_every_known_pixel(nyud):
    _, cfg = nyud
    found = check_dataset(cfg).as_dict()['tasks']
    pixels = COUNT * 96 * 128
    depth = found['depth']['histogram']
    assert sum(depth['counts']) == round(found['depth']['known_share'] * pixels)
    assert len(depth['edges']) == len(depth['counts']) + 1
    assert all(sum(counts) == pixels for counts in found['normal']['histograms'].values())
    assert sum(found['boundary']['pictures_by_share']) == COUNT


# -- pieces -------------------------------------------------------------------


def test_axis_agreement_is_complete_on_rooms_whatever_the_camera():
    for index in range(3):
        room = render_room(1, 'val', index, (96, 128))
        normal, valid = room.gt['normal'], np.ones((96, 128), bool)
        agree, tell = axis_agreement(normal, valid, 1 / room.depth)
        assert (tell > 200).all()
        assert (agree > 0.98 * tell).all()
        against, _ = axis_agreement(normal * [-1, -1, 1], valid, 1 / room.depth)
        assert (against < 0.02 * tell).all()


def test_statistics_add_up():
    tasks = build_tasks(dict(normal=dict(type='Normal'), depth=dict(type='Depth')))
    room = [render_room(0, 'train', index, (24, 32)) for index in range(4)]
    for key, task in tasks.items():
        whole, parts = statistics_of(task), [statistics_of(task) for _ in range(2)]
        for index, one in enumerate(room):
            extra = dict(inverse_depth=1 / one.depth)
            whole.update(one.gt[key], extra)
            parts[index % 2].update(one.gt[key], extra)
        parts[0].merge(parts[1])
        a, b = whole.as_dict(), parts[0].as_dict()
        if key == 'normal':
            np.testing.assert_allclose(a.pop('mean'), b.pop('mean'))
        assert a == b


def test_manifest_finds_every_change(tmp_path):
    root = tmp_path / 'data'
    for name in ('a/1.png', 'a/2.png', 'b.txt'):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / '.hidden').write_text('temporary')
    manifest = root / 'files.sha256'
    hashes = hash_files(root, without=manifest)
    write_manifest(manifest, hashes)
    assert sorted(hashes) == ['a/1.png', 'a/2.png', 'b.txt']
    assert read_manifest(manifest) == hashes
    assert not compare(hash_files(root, without=manifest), read_manifest(manifest))
    before = data_checksum(hashes)
    (root / 'a' / '1.png').write_text('other')
    (root / 'b.txt').unlink()
    (root / 'c.txt').write_text('new')
    after = hash_files(root, without=manifest)
    changes = compare(after, hashes)
    assert changes
    assert (changes.changed, changes.missing, changes.added) == (
        ('a/1.png',), ('b.txt',), ('c.txt',),
    )  # fmt: skip
    assert data_checksum(after) != before


def test_checksums_are_those_of_sha256sum(tmp_path):
    (tmp_path / 'a').write_bytes(b'abc')
    digest = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'
    assert manifest_text(hash_files(tmp_path)) == f'{digest}  a\n'


def test_a_file_that_is_no_manifest_is_refused(tmp_path):
    (tmp_path / 'x').write_text('hello\n')
    with pytest.raises(DataError, match=r"line 1 is 'hello'.*--write"):
        read_manifest(tmp_path / 'x')


def test_names_and_mirrors():
    for name in set(NAMES) - {'folder'}:  # that one says itself which tasks it has
        assert named_dataset(name)['tasks']
    with pytest.raises(DataError, match=r'docs/datasets\.md'):
        named_dataset('folder')
    with pytest.raises(DataError, match="Did you mean 'nyuv2'"):
        named_dataset('nyu2')
    with pytest.raises(DataError, match=r"no task 'depht'.*Did you mean 'depth'"):
        named_dataset('nyud', tasks=['depht'])
    for name in set(NAMES) - {'rooms', 'folder'}:
        mirrors = known_mirrors(name)
        assert mirrors
        for mirror in mirrors:
            assert mirror.lacks
            assert mirror.url.startswith('http')
            # Nothing may claim to be checked without the checksum of what was looked at.
            assert not mirror.checked or mirror.sha256
        assert 'was not checked' in mirrors_text(mirrors)
    with pytest.raises(DataError, match='No mirrors are known'):
        known_mirrors('imagenet')
