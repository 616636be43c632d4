import io
import json

import cv2
import numpy as np
import pytest
from PIL import Image
from tiny_predictor import TASKS

from mmdense.apis.results import Prediction
from mmdense.apis.savers import FORMATS, read_npz, save_maps
from mmdense.conventions import project
from mmdense.datasets.reading import read_image, read_label, read_metres
from mmdense.structures import DenseMap
from mmdense.tasks import build_tasks
from mmdense.utils import DataError

TASKS_BUILT = build_tasks(TASKS)
INTRINSICS = np.array([[50.0, 0, 8], [0, 40, 6], [0, 0, 1]])
SIZE = (12, 16)


@pytest.fixture
def prediction():
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(*SIZE, 3)).astype(np.float32)
    values = dict(
        semseg=rng.integers(0, 5, SIZE, dtype=np.uint8),
        depth=rng.uniform(0.5, 9, SIZE).astype(np.float32),
        normal=normals / np.linalg.norm(normals, axis=-1, keepdims=True),
        boundary=rng.uniform(size=SIZE).astype(np.float32),
        reshading=rng.uniform(size=SIZE).astype(np.float32),
    )
    values['depth'][0, :3] = 10  # the end of the range
    values['semseg'][0, 0] = 255
    image = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    maps = {key: DenseMap.of(TASKS_BUILT[key], value) for key, value in values.items()}
    return Prediction('room', 0, maps, image=image, panel=image, intrinsics=INTRINSICS)


def save(prediction, folder, *formats):
    paths = save_maps(prediction, folder, 'room', TASKS_BUILT, formats)
    return {path.name: path for path in paths}


def test_every_format_writes_the_files_that_it_names(prediction, tmp_path):
    names = set(save(prediction, tmp_path, *FORMATS))
    pictures = {f'room_{key}_picture.png' for key in TASKS}
    assert names == pictures | {
        'room.npz',
        'room.ply',
        'room_depth_mm.png',
        'room_semseg_labels.png',
        'room_panel_picture.png',
    }
    assert names == {path.name for path in tmp_path.iterdir()}


def test_npz_holds_numbers_units_and_conventions(prediction, tmp_path):
    path = save(prediction, tmp_path, 'npz')['room.npz']
    with np.load(path) as stored:  # no pickles
        assert stored['depth'].dtype == np.float32
        assert stored['semseg'].dtype == np.uint8
        meta = json.loads(str(stored['meta']))
    assert meta['depth']['unit'] == 'm'
    assert meta['semseg']['classes'][1] == 'floor'
    for key, item in read_npz(path).items():
        expected = prediction.maps[key]
        np.testing.assert_array_equal(item.value, expected.value)
        np.testing.assert_array_equal(item.valid, expected.valid)
        assert (item.unit, item.kind, item.convention, item.classes) == (
            expected.unit,
            expected.kind,
            expected.convention,
            expected.classes,
        )
    np.savez(tmp_path / 'other.npz', a=1)
    with pytest.raises(DataError, match='expected saved maps'):
        read_npz(tmp_path / 'other.npz')


def test_millimetres_read_back_as_metres(prediction, tmp_path):
    path = save(prediction, tmp_path, 'depth')['room_depth_mm.png']
    stored = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert stored.dtype == np.uint16
    depth = prediction.maps['depth']
    found = read_metres(str(path))
    np.testing.assert_allclose(found[depth.valid], depth.value[depth.valid], rtol=0, atol=5.01e-4)
    assert (found[~depth.valid] == 0).all()
    assert (~depth.valid).sum() == 3


def test_depth_beyond_sixteen_bits_is_unknown(tmp_path):
    task = build_tasks(dict(depth=dict(type='Depth', max_depth=200.0)))['depth']
    value = np.array([[65.534, 65.535, 70, 131.0]], np.float32)
    found = Prediction('x', 0, dict(depth=DenseMap.of(task, value)))
    (path,) = save_maps(found, tmp_path, 'x', dict(depth=task), ['depth'])
    assert cv2.imread(str(path), cv2.IMREAD_UNCHANGED).tolist() == [[65534, 0, 0, 0]]


def test_labels_are_indices_that_viewers_show_in_colour(prediction, tmp_path):
    path = save(prediction, tmp_path, 'labels')['room_semseg_labels.png']
    np.testing.assert_array_equal(read_label(str(path)), prediction.maps['semseg'].value)
    colours = TASKS_BUILT['semseg'].colorize(prediction.maps['semseg'].value)
    np.testing.assert_array_equal(read_image(str(path)), colours)
    with Image.open(path) as stored:
        assert json.loads(stored.info['Classes']) == list(TASKS['semseg']['classes'])


def test_pictures_say_that_they_are_no_data(prediction, tmp_path):
    for name, path in save(prediction, tmp_path, 'pictures', 'panel').items():
        assert name.endswith('_picture.png')
        with Image.open(path) as stored:
            assert stored.info['Comment'].startswith('Colours to look at, no data')
            assert stored.mode == 'RGB'


def read_ply(path):
    content = path.read_bytes()
    head, _, body = content.partition(b'end_header\n')
    lines = head.decode().splitlines()
    kinds = dict(float='<f4', uchar='u1')
    fields = [line.split()[1:] for line in lines if line.startswith('property')]
    count = next(int(line.split()[2]) for line in lines if line.startswith('element vertex'))
    points = np.frombuffer(body, [(name, kinds[kind]) for kind, name in fields])
    assert len(points) == count
    return points


def test_points_project_onto_the_pixels_they_come_from(prediction, tmp_path):
    points = read_ply(save(prediction, tmp_path, 'ply')['room.ply'])
    depth = prediction.maps['depth']
    rows, columns = np.nonzero(depth.valid)
    assert len(points) == len(rows) == SIZE[0] * SIZE[1] - 3
    xyz = np.stack([points[axis] for axis in 'xyz'], -1)
    uv, distance = project(xyz, INTRINSICS)
    np.testing.assert_allclose(uv, np.stack([columns, rows], -1) + 0.5, atol=1e-3)
    np.testing.assert_allclose(distance, depth.value[depth.valid], rtol=1e-6)
    colours = np.stack([points[name] for name in ('red', 'green', 'blue')], -1)
    np.testing.assert_array_equal(colours, prediction.image[depth.valid])
    normals = np.stack([points[name] for name in ('nx', 'ny', 'nz')], -1)
    np.testing.assert_array_equal(normals, prediction.maps['normal'].value[depth.valid])


def test_points_without_directions_or_picture(prediction, tmp_path):
    bare = Prediction('x', 0, dict(depth=prediction.maps['depth']), intrinsics=INTRINSICS)
    (path,) = save_maps(bare, tmp_path, 'x', TASKS_BUILT, ['ply'])
    assert read_ply(path).dtype.names == ('x', 'y', 'z')


def test_points_need_intrinsics(prediction, tmp_path):
    prediction.intrinsics = None
    with pytest.raises(DataError, match=r"room: a point cloud needs the camera's intrinsics"):
        save(prediction, tmp_path, 'ply')
    assert not list(tmp_path.iterdir())


def test_formats_that_fit_no_map_write_nothing(prediction, tmp_path):
    depth = build_tasks(
        dict(depth=dict(type='Depth', kind='inverse_norm', min_depth=0, max_depth=1))
    )
    value = np.full((2, 2), 0.5, np.float32)
    found = Prediction('x', 0, dict(depth=DenseMap.of(depth['depth'], value)))
    assert save_maps(found, tmp_path, 'x', depth, ['depth', 'labels', 'ply', 'panel']) == []


def test_unknown_formats_are_refused(prediction, tmp_path):
    with pytest.raises(ValueError, match="Did you mean 'depth'"):
        save(prediction, tmp_path, 'deph')


def test_npz_is_written_whole(prediction, tmp_path):
    content = save(prediction, tmp_path, 'npz')['room.npz'].read_bytes()
    assert len(np.load(io.BytesIO(content)).files) == 2 * len(TASKS) + 1
