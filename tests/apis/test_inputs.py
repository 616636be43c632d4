import itertools

import cv2
import numpy as np
import pytest
import torch
from picture_files import bad_files, good_files, picture, rotated
from PIL import Image

from mmdense.apis.inputs import (
    camera_matrix,
    count_inputs,
    decode,
    expand_inputs,
    intrinsics_of_file,
    to_rgb,
)
from mmdense.utils import DataError

GOOD, BAD = good_files(), bad_files()


def pictures_of(inputs):
    return [source.read() for source in expand_inputs(inputs)]


@pytest.mark.parametrize('name', GOOD)
def test_every_kind_of_picture_is_read_as_people_see_it(name):
    content, expected = GOOD[name]
    found = decode(name, content)
    assert found.dtype == np.uint8
    assert found.shape == expected.shape
    # JPEG changes colours a little.
    assert np.abs(found.astype(int) - expected).max() <= (12 if name.endswith('.jpg') else 0)


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP'])
def test_every_way_to_hold_a_camera(orientation, kind):
    content, expected = rotated(orientation, kind)
    found = decode('photo', content)
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).mean() < 2


@pytest.mark.parametrize('name', BAD)
def test_broken_pictures_are_refused_in_one_line(name):
    content, reason = BAD[name]
    with pytest.raises(DataError, match=reason) as caught:
        decode(name, content)
    assert str(caught.value).startswith(f'{name}: ')
    assert '\n' not in str(caught.value)


def test_arrays_of_every_type_are_the_same_picture():
    rgb = picture()
    same = [
        rgb,
        rgb.astype(np.int64),
        rgb.astype(np.uint16) * 257,
        rgb / 255,
        (rgb / 255).astype(np.float32),
        np.dstack([rgb, rgb[..., 0]]),
        np.asfortranarray(rgb),
    ]
    for array in same:
        np.testing.assert_array_equal(to_rgb(array, 'x'), rgb)
    grey = to_rgb(rgb[..., 0], 'x')
    np.testing.assert_array_equal(grey, np.repeat(rgb[..., :1], 3, axis=2))


@pytest.mark.parametrize(
    ('array', 'message'),
    [
        (np.zeros((3, 8, 9)), r'Transpose arrays \(3, H, W\)'),
        (np.zeros((0, 8, 3), np.uint8), 'not empty'),
        (np.full((2, 2, 3), 255.0), 'divide by 255'),
        (np.full((2, 2, 3), -1), 'expected uint8'),
        (np.array(['a']), 'expected a picture'),
    ],
)
def test_arrays_that_are_no_pictures_are_refused(array, message):
    with pytest.raises(DataError, match=message):
        to_rgb(array, 'x')


def test_folders_patterns_and_lists_in_order(tmp_path):
    below = tmp_path / 'below'
    below.mkdir()
    for name in ('b.png', 'a.png', 'notes.txt', 'below/c.png'):
        (tmp_path / name).write_bytes(GOOD['grey.png'][0])
    stems = [source.stem for source in expand_inputs(tmp_path)]
    assert stems == ['a', 'b']
    assert count_inputs(tmp_path) == 2
    pattern = str(tmp_path / '**' / '*.png')
    assert [source.stem for source in expand_inputs(pattern)] == ['a', 'b', 'c']
    mixed = [str(tmp_path), picture(), [GOOD['rgba.png'][0], tmp_path / 'b.png']]
    assert [source.stem for source in expand_inputs(mixed)] == ['a', 'b', '000002', '000003', 'b']
    assert count_inputs(mixed) == 5


def test_tensors_batches_pil_pictures_and_mappings():
    rgb = picture()
    chw = torch.from_numpy(rgb).permute(2, 0, 1)
    for inputs in (chw, Image.fromarray(rgb), dict(img=rgb), np.stack([rgb, rgb])):
        for found in pictures_of(inputs):
            np.testing.assert_array_equal(found, rgb)
    assert len(pictures_of(torch.stack([chw, chw, chw]))) == count_inputs(chw.expand(3, -1, -1, -1))
    item = dict(img=rgb, name='shot/1.png', intrinsics=(9, 8, 4, 3))
    (source,) = expand_inputs(item)
    assert (source.name, source.stem) == ('shot/1.png', '1')
    np.testing.assert_array_equal(source.intrinsics, [[9, 0, 4], [0, 8, 3], [0, 0, 1]])


def test_a_generator_is_read_as_it_is_needed():
    endless = (picture() for _ in itertools.count())
    sources = expand_inputs(endless)
    assert [next(sources).stem for _ in range(3)] == ['000000', '000001', '000002']
    assert count_inputs(endless) is None


def test_one_of_many_that_is_missing_is_refused_when_read(tmp_path):
    inputs = [picture(), str(tmp_path / 'gone.png'), 7]
    assert count_inputs(inputs[:2]) == 2
    sources = list(expand_inputs(inputs))
    sources[0].read()
    with pytest.raises(DataError, match='no such file'):
        sources[1].read()
    with pytest.raises(DataError, match='a int is no picture'):
        sources[2].read()


@pytest.mark.parametrize(
    ('inputs', 'message'),
    [
        ('gone.png', 'no such file or folder'),
        ('*.gone', 'fits no file'),
        ('https://example.org/a.png', 'not fetched'),
        (7, 'a int is no picture'),
        (dict(image=1), 'expected img'),
        (torch.zeros(5, 4), 'a tensor is'),
    ],
)
def test_inputs_that_stand_for_nothing(inputs, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=message):
        list(expand_inputs(inputs))


def test_folder_without_pictures(tmp_path):
    with pytest.raises(DataError, match='holds no picture'):
        list(expand_inputs(tmp_path))


def test_video_frames_in_order(tmp_path):
    path = str(tmp_path / 'walk.avi')
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*'MJPG'), 10, (64, 48))
    assert writer.isOpened()
    for level in (40, 120, 200):
        writer.write(np.full((48, 64, 3), level, np.uint8))
    writer.release()
    assert count_inputs(path) == 3
    sources = list(expand_inputs(path))
    assert [source.stem for source in sources] == [f'walk_{i:06d}' for i in range(3)]
    levels = [source.read().mean() for source in sources]
    np.testing.assert_allclose(levels, [40, 120, 200], atol=3)
    (tmp_path / 'broken.mp4').write_bytes(b'no video')
    with pytest.raises(DataError, match='no video that OpenCV can open'):
        list(expand_inputs(tmp_path / 'broken.mp4'))


def test_photographs_tell_their_focal_length(tmp_path):
    image, exif = Image.fromarray(picture(60, 80)), Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 26
    image.save(tmp_path / 'phone.jpg', exif=exif)
    image.save(tmp_path / 'bare.jpg')
    matrix = intrinsics_of_file(str(tmp_path / 'phone.jpg'), (60, 80))
    # The diagonal is 100 pixels, and 43.27 mm on film.
    np.testing.assert_allclose(matrix, [[60.09, 0, 40], [0, 60.09, 30], [0, 0, 1]], atol=0.01)
    assert intrinsics_of_file(str(tmp_path / 'bare.jpg'), (60, 80)) is None
    (tmp_path / 'x.npy').write_bytes(GOOD['array.npy'][0])
    assert intrinsics_of_file(str(tmp_path / 'x.npy'), (60, 80)) is None


def test_camera_matrices_are_checked():
    matrix = [[5.0, 0, 2], [0, 6, 3], [0, 0, 1]]
    np.testing.assert_array_equal(camera_matrix((5, 6, 2, 3)), matrix)
    np.testing.assert_array_equal(camera_matrix(matrix), matrix)
    for wrong in ((1, 2, 3), (0, 5, 1, 1), np.eye(4)):
        with pytest.raises(DataError, match='intrinsics are'):
            camera_matrix(wrong)
