"""Converters between axis conventions, and the check that guesses them."""

import doctest
import importlib
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mmdense.conventions import (
    CONVENTIONS,
    LIBRARY_AXES,
    axis_matrix,
    axis_signs,
    convert_intrinsics,
    convert_normals,
    convert_points,
    convert_poses,
    estimate_axes,
    get_convention,
    project,
)
from mmdense.datasets.reading import decode_normals
from mmdense.datasets.rooms import render_room
from mmdense.tasks import Normal
from mmdense.utils import DataError, ShapeError

# What a normal that points this way, in library axes, is in each convention; written out by
# hand from what the projects say of themselves.
UP, RIGHT, TO_VIEWER = (0, 1, 0), (1, 0, 0), (0, 0, 1)
BY_HAND = {
    'library': ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    'opengl': ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    'blender': ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    'nerfstudio': ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    'opencv': ((1, 0, 0), (0, -1, 0), (0, 0, -1)),
    'colmap': ((1, 0, 0), (0, -1, 0), (0, 0, -1)),
    'pytorch3d': ((-1, 0, 0), (0, 1, 0), (0, 0, -1)),
    # Right, down, front, but outward: a wall that faces the camera is (0, 0, 1).
    'dsine': ((-1, 0, 0), (0, 1, 0), (0, 0, 1)),
    # A surface that faces up has little green.
    '2d3ds': ((1, 0, 0), (0, -1, 0), (0, 0, 1)),
    'taskonomy': ((1, 0, 0), (0, -1, 0), (0, 0, 1)),
    'omnidata': ((1, 0, 0), (0, -1, 0), (0, 0, 1)),
}
LEFT_HANDED = {'2d3ds', 'taskonomy', 'omnidata'}


@pytest.mark.parametrize('module', ['axes', 'check', 'projection'])
def test_examples_of_the_docstrings(module):
    assert doctest.testmod(importlib.import_module(f'mmdense.conventions.{module}')).failed == 0


@pytest.mark.parametrize('name', CONVENTIONS)
def test_normals_that_face_right_up_and_the_viewer(name):
    for normal, expected in zip((RIGHT, UP, TO_VIEWER), BY_HAND[name]):
        found = convert_normals(np.array(normal, float), 'library', name)
        assert found.tolist() == list(expected)
        assert convert_normals(found, name, 'library').tolist() == list(normal)


def test_signs_for_readers_are_the_converter():
    for name in CONVENTIONS:
        stored = np.eye(3, dtype=np.float32)
        expected = convert_normals(stored, name, 'library')
        assert np.array_equal(stored * axis_signs(name), expected)
        assert np.array_equal(axis_signs(CONVENTIONS[name].normal_axes), axis_signs(name))
        assert np.allclose(decode_normals(stored[None], name), expected[None])
    assert CONVENTIONS['dsine'].normal_axes == 'x-left y-up z-back'


maps = hnp.arrays(np.float32, (2, 3, 3), elements=st.floats(-1, 1, width=32))
names = st.sampled_from(sorted(CONVENTIONS))


@given(maps, names, names, names)
def test_conversions_compose_exactly_and_keep_zeros(normals, a, b, c):
    there = convert_normals(convert_normals(normals, a, b), b, c)
    assert np.array_equal(there, convert_normals(normals, a, c))
    assert np.array_equal(convert_normals(there, c, a), normals)
    assert np.array_equal((there == 0).all(-1), (normals == 0).all(-1))
    assert there.dtype == np.float32


def test_tensors_and_channel_axes():
    batch = torch.randn(2, 3, 4, 5)
    found = convert_normals(batch, 'library', 'dsine', axis=1)
    assert torch.equal(found, batch * torch.tensor([-1.0, 1, 1]).view(1, 3, 1, 1))
    last = convert_normals(batch.permute(0, 2, 3, 1).numpy(), 'library', 'dsine')
    assert np.array_equal(last, found.permute(0, 2, 3, 1).numpy())


def test_other_orders_of_the_axes():
    body = 'x-front y-left z-up'
    point = np.array([1.0, 2.0, -3.0])  # 1 m right, 2 m up, 3 m ahead
    assert convert_points(point, 'library', body).tolist() == [3, -1, 2]
    assert convert_points(np.array([3.0, -1, 2]), body).tolist() == point.tolist()
    directions = ('right', 'left'), ('up', 'down'), ('back', 'front')
    for order in itertools.permutations(range(3)):
        for picks in itertools.product((0, 1), repeat=3):
            axes = ' '.join(f'{n}-{directions[o][p]}' for n, o, p in zip('xyz', order, picks))
            matrix = axis_matrix(axes)
            assert np.array_equal(matrix @ matrix.T, np.eye(3))
            assert get_convention(axes).right_handed == (np.linalg.det(matrix) > 0)


def test_left_handed_colours_are_no_cameras():
    for name in CONVENTIONS:
        assert get_convention(name).right_handed == (name not in LEFT_HANDED)
    with pytest.raises(ValueError, match=r"axes of 'omnidata'.*left-handed.*opencv"):
        convert_points(np.zeros((2, 3)), 'library', 'omnidata')
    with pytest.raises(ValueError, match='left-handed'):
        convert_poses(np.eye(4), 'taskonomy', 'library')


def test_outward_says_nothing_of_points():
    point = np.array([1.0, 2.0, -3.0])
    assert convert_points(point, 'library', 'dsine').tolist() == [1, -2, 3]


def test_opencv_projects_to_the_same_pixels():
    """The library's projection against OpenCV's own, with its axes and its pixel centres."""
    import cv2

    room = render_room(0, 'val', 0, (48, 64))
    rng = np.random.default_rng(0)
    points = np.stack([rng.uniform(-1, 1, 50), rng.uniform(-1, 1, 50), -rng.uniform(1, 5, 50)], -1)
    uv, depth = project(points, room.intrinsics)
    theirs = convert_points(points, 'library', 'opencv')
    assert np.array_equal(theirs[:, 2], depth)
    k = convert_intrinsics(room.intrinsics, 'library', 'opencv')
    found, _ = cv2.projectPoints(theirs, np.zeros(3), np.zeros(3), k, None)
    assert np.allclose(found[:, 0] + 0.5, uv, atol=1e-9)


def test_intrinsics_move_by_half_a_pixel_and_back():
    k = np.array([[50.0, 0, 32], [0, 50, 24], [0, 0, 1]])
    opencv = convert_intrinsics(k, 'library', 'opencv')
    assert opencv.tolist() == [[50, 0, 31.5], [0, 50, 23.5], [0, 0, 1]]
    assert np.array_equal(convert_intrinsics(opencv, 'opencv', 'colmap'), k)
    with pytest.raises(ValueError, match=r"'opengl' does not say.*colmap"):
        convert_intrinsics(k, 'opengl')
    with pytest.raises(ShapeError, match='3, 3'):
        convert_intrinsics(k[:2])


@pytest.mark.parametrize('name', sorted(set(CONVENTIONS) - LEFT_HANDED))
def test_poses_carry_the_same_points_to_the_same_places(name):
    room = render_room(0, 'val', 1, (16, 16))
    points = np.random.default_rng(0).normal(size=(5, 3))
    world = points @ room.pose[:3, :3].T + room.pose[:3, 3]
    pose = convert_poses(room.pose, 'library', name)
    theirs = convert_points(points, 'library', name)
    assert np.allclose(theirs @ pose[:3, :3].T + pose[:3, 3], world)
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1)
    assert np.array_equal(convert_poses(pose, name, 'library'), room.pose)
    assert np.array_equal(pose[3], [0, 0, 0, 1])


@pytest.mark.parametrize(
    ('call', 'error', 'message'),
    [
        (lambda: convert_normals(np.zeros((3, 4)), 'library', 'opencv'), ShapeError, '4 entries'),
        (lambda: convert_normals(np.zeros((2, 3), np.uint8)), ValueError, 'uint8, expected floats'),
        (lambda: convert_normals(np.zeros(3), 'opencb'), ValueError, "Did you mean 'opencv'"),
        (lambda: get_convention('x-right y-left z-up'), ValueError, "axes are 'x-right y-left"),
        (lambda: axis_matrix('right up back'), ValueError, 'expected'),
        (lambda: axis_signs('x-front y-left z-up'), ValueError, 'normal_axes is'),
        (lambda: convert_poses(np.eye(3)), ShapeError, r'\(3, 3\)'),
        (lambda: estimate_axes([]), DataError, 'no pixel has a normal'),
        (lambda: estimate_axes([np.zeros((2, 2))]), DataError, r'\(2, 2\)'),
    ],
)
def test_wrong_use_is_explained(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.fixture(scope='module')
def room_normals():
    return [render_room(7, 'train', i, (48, 64)).gt['normal'] for i in range(12)]


@pytest.mark.parametrize('name', CONVENTIONS)
def test_axes_are_guessed_from_normals_as_stored(room_normals, name):
    stored = [convert_normals(normals, 'library', name) for normals in room_normals]
    found = estimate_axes(stored)
    assert found.axes == CONVENTIONS[name].normal_axes
    assert min(found.agreement) > 0.65
    assert 'Undecided' not in str(found)
    # What it prints is what the readers take.
    assert np.array_equal(stored[0] * axis_signs(found.axes), room_normals[0])


def test_guess_survives_eight_bits_and_unknown_pixels(room_normals):
    stored = []
    for normals in room_normals:
        colours = Normal().colorize(convert_normals(normals, 'library', 'omnidata'))
        decoded = decode_normals(colours)
        decoded[:20] = 0
        stored.append(decoded)
    assert estimate_axes(stored).axes == 'x-right y-down z-back'


def test_command_guesses_draws_and_explains(room_normals, tmp_path, capsys):
    import importlib.util
    from pathlib import Path

    import cv2

    path = Path(__file__).parents[2] / 'tools/misc/check_normal_axes.py'
    spec = importlib.util.spec_from_file_location(path.stem, path)
    main = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(main)
    files = []
    for number, normals in enumerate(room_normals):
        files.append(str(tmp_path / f'{number}.png'))
        colours = Normal().colorize(convert_normals(normals, 'library', 'opencv'))
        cv2.imwrite(files[-1], colours[..., ::-1])
    out = tmp_path / 'check.png'
    assert main.main([*files, '--out', str(out)]) == 0
    printed = capsys.readouterr().out
    assert "normal_axes='x-right y-down z-front'" in printed
    assert 'are those of opencv, colmap.' in printed
    # Drawn in the colours of the library: the first tile is the first room.
    drawn = cv2.imread(str(out))[..., ::-1][:48, :64].astype(int)
    assert np.abs(drawn - Normal().colorize(room_normals[0])).max() <= 2
    assert main.main([str(tmp_path / 'none.png')]) == 1
    assert 'none.png' in capsys.readouterr().err


def test_guess_admits_that_it_does_not_know(room_normals):
    # x and z changed places: neither order of signs explains the picture.
    swapped = [normals[..., [2, 1, 0]] for normals in room_normals]
    assert 'Undecided on' in str(estimate_axes(swapped))
    assert LIBRARY_AXES == 'x-right y-up z-back'
