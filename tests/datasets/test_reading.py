import re
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from mmdense.datasets.reading import (
    axis_signs,
    decode_normals,
    folder_index,
    read_binary,
    read_image,
    read_label,
    read_list,
    read_map,
    read_metres,
    read_normals,
)
from mmdense.utils import DataError

rng = np.random.default_rng(0)


def test_pictures_come_back_in_rgb(tmp_path):
    img = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    Image.fromarray(img).save(tmp_path / 'a.png')
    assert np.array_equal(read_image(str(tmp_path / 'a.png')), img)
    Image.fromarray(img[..., 0]).save(tmp_path / 'grey.png')
    assert np.array_equal(read_image(str(tmp_path / 'grey.png')), np.repeat(img[..., :1], 3, -1))


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_png_maps_keep_their_values(tmp_path, dtype):
    values = rng.integers(0, np.iinfo(dtype).max + 1, (4, 5)).astype(dtype)
    cv2.imwrite(str(tmp_path / 'm.png'), values)
    out = read_map(str(tmp_path / 'm.png'))
    assert out.dtype == dtype and np.array_equal(out, values)


def test_npy_maps_lose_only_a_trailing_one(tmp_path):
    values = rng.random((4, 5, 1))
    np.save(tmp_path / 'm.npy', values)
    assert np.array_equal(read_map(str(tmp_path / 'm.npy')), values[..., 0])


def test_labels_of_palette_pictures_are_the_indices(tmp_path):
    labels = rng.integers(0, 5, (4, 5)).astype(np.uint8)
    picture = Image.fromarray(labels, mode='P')
    picture.putpalette(list(range(0, 200, 13)) + [0] * 752)
    picture.save(tmp_path / 'p.png')
    assert np.array_equal(read_label(str(tmp_path / 'p.png')), labels)


def test_float_labels_are_read_if_whole(tmp_path):
    np.save(tmp_path / 'a.npy', np.array([[0.0, 3.0, -1.0]]))
    assert read_label(str(tmp_path / 'a.npy')).tolist() == [[0, 3, -1]]
    for value in (0.5, np.nan, np.inf, 3e9):
        np.save(tmp_path / 'b.npy', np.array([[0.0, value]]))
        with pytest.raises(DataError, match=rf'b.npy.*hold {re.escape(str(value))}; expected int'):
            read_label(str(tmp_path / 'b.npy'))
    np.save(tmp_path / 'c.npy', np.zeros((4, 4, 3)))
    with pytest.raises(DataError, match=r'c.npy.*\(4, 4, 3\), expected integers'):
        read_label(str(tmp_path / 'c.npy'))


def test_files_that_are_not_what_they_claim(tmp_path):
    page, empty, pickled = tmp_path / 'page.png', tmp_path / 'empty.png', tmp_path / 'o.npy'
    page.write_bytes(b'<html>404</html>')
    empty.write_bytes(b'')
    np.save(pickled, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r'page.png: is not a complete image.*<html>'):
        read_image(str(page))
    with pytest.raises(DataError, match=r'page.png: is not a complete image'):
        read_label(str(page))
    with pytest.raises(DataError, match=r'empty.png: the file is empty'):
        read_image(str(empty))
    with pytest.raises(DataError, match=r'gone.png: the file does not exist.*on_error'):
        read_image(str(tmp_path / 'gone.png'))
    with pytest.raises(DataError, match=r'o.npy: is not a plain numpy array.*np.save'):
        read_map(str(pickled))


@pytest.mark.parametrize('dtype', ['<f4', '>f8', 'i2', '?', '<u8', 'f2'])
@pytest.mark.parametrize('order', ['C', 'F'])
def test_arrays_of_every_type_and_order_come_back_writable(tmp_path, dtype, order):
    values = np.asarray(rng.integers(0, 2, (4, 5, 3)), dtype, order)
    np.save(tmp_path / 'm.npy', values)
    out = read_map(str(tmp_path / 'm.npy'))
    assert out.dtype == values.dtype and np.array_equal(out, values)
    out[0, 0] = 1


def npy(header, body=b'', version=b'\x01\x00'):
    text = header.encode().ljust(117) + b'\n'
    return b'\x93NUMPY' + version + len(text).to_bytes(2, 'little') + text + body


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (99999, 99999)}", bytes(80)), '80'),
        (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2, 5)}", bytes(81)), 'altered'),
        (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-2, -5)}", bytes(80)), 'states'),
        (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (0, 5)}"), 'shape'),
        (npy("{'descr': '<f8', 'fortran_order': False}", bytes(80)), 'plain'),
        (npy('(' * 100 + ')' * 100), 'plain'),
        (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2, 5L)"), 'plain'),
        (npy("__import__('os').system('true')"), 'plain'),
        (npy("{'descr': '<c8', 'fortran_order': False, 'shape': (1, 1)}", bytes(8)), 'complex64'),
        (npy("{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1, 1)}"), 'real'),
        (npy('', version=b'\x07\x00'), 'plain'),
        (b'\x93NUM', 'plain'),
    ],
)  # fmt: skip
def test_headers_of_arrays_are_held_against_the_file(tmp_path, content, words):
    (tmp_path / 'h.npy').write_bytes(content)
    with pytest.raises(DataError, match=rf'h\.npy: .*{words}'):
        read_map(str(tmp_path / 'h.npy'))


def test_altered_pngs_are_refused_wherever_the_damage_is(tmp_path):
    img = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    content = cv2.imencode('.png', img)[1].tobytes()
    path = tmp_path / 'a.png'
    for place in range(8, len(content), 37):
        altered = bytearray(content)
        altered[place] ^= 0x55
        path.write_bytes(bytes(altered))
        with pytest.raises(DataError, match=r'a.png: is not a complete image'):
            read_image(str(path))
    path.write_bytes(content + b'trailing bytes do no harm')
    assert np.array_equal(read_image(str(path)), img[..., ::-1])


def png(side, colour_type, pixels, *chunks):
    """A PNG of ``side`` squared that states more or less than it holds."""

    def chunk(kind, data):
        check = zlib.crc32(kind + data).to_bytes(4, 'big')
        return len(data).to_bytes(4, 'big') + kind + data + check

    head = chunk(b'IHDR', side.to_bytes(4, 'big') * 2 + bytes((8, colour_type, 0, 0, 0)))
    body = b''.join(chunk(kind, data) for kind, data in chunks)
    end = chunk(b'IDAT', zlib.compress(pixels)) + chunk(b'IEND', b'')
    return b'\x89PNG\r\n\x1a\n' + head + body + end


@pytest.mark.parametrize('read', [read_image, read_map, read_label, read_binary])
@pytest.mark.parametrize('colour_type', [0, 2, 3])
def test_a_png_that_states_more_pixels_than_it_can_hold(tmp_path, read, colour_type):
    (tmp_path / 'bomb.png').write_bytes(png(30000, colour_type, b'', (b'PLTE', bytes(6))))
    with pytest.raises(DataError, match=r'bomb.png.*states 30000x30000 pixels, more than it can h'):
        read(str(tmp_path / 'bomb.png'))


def test_damaged_palette_pictures_are_refused(tmp_path, monkeypatch):
    palette = (b'PLTE', bytes(6))
    path = tmp_path / 'p.png'
    rows = b'\0\1\1\0\0' * 4
    path.write_bytes(png(4, 3, rows, palette))
    assert read_label(str(path)).tolist() == [[1, 1, 0, 0]] * 4
    whole = path.read_bytes()
    for content in (whole[:-20], png(4, 3, rows[:7], palette), whole.replace(b'PLTE', b'PLTX')):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r'p.png: is not a complete palette picture'):
            read_label(str(path))
    # As from 13,400 squared on: possible, but no label map.
    path.write_bytes(whole)
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 7)
    with pytest.raises(DataError, match=r'p.png: is not a complete palette picture \(Image size'):
        read_label(str(path))


def test_zeros_and_ones_in_all_their_encodings(tmp_path):
    ones = np.array([[0, 1, 1], [1, 0, 0]], np.uint8)
    for array in (ones, ones.astype(bool), ones.astype(np.float64), ones * 255.0):
        np.save(tmp_path / 'b.npy', array)
        assert np.array_equal(read_binary(str(tmp_path / 'b.npy')), ones)
    grey = np.array([[0, 127, 128, 255]], np.uint8)
    cv2.imwrite(str(tmp_path / 'b.png'), grey)
    assert read_binary(str(tmp_path / 'b.png')).tolist() == [[0, 0, 1, 1]]
    assert read_binary(str(tmp_path / 'b.png'), one=255).tolist() == [[0, 0, 1, 1]]
    for wrong in (
        ones * 3.0,
        ones * 7,
        -ones.astype(int),
        ones * np.nan,
        np.zeros((2, 2, 3)) + ones[0],
    ):
        np.save(tmp_path / 'b.npy', wrong.astype(float))
        with pytest.raises(
            DataError, match=r'b.npy: the map is float64.*expected \(H, W\) of 0 and'
        ):
            read_binary(str(tmp_path / 'b.npy'))


def test_metres_from_floats_and_millimetres(tmp_path):
    path = str(tmp_path / 'd.npy')
    for stored in (np.array([[0, 65535]], np.uint16), np.array([[0, 65.535]])):
        np.save(path, stored)
        assert read_metres(path).dtype == np.float32
        assert np.allclose(read_metres(path), [[0, 65.535]])
    for wrong, words in (
        (np.array([[1, np.nan]]), r'1 values that are NaN or infinite, the first nan at \(0, 1\)'),
        (np.array([[-np.inf, 1]]), 'first -inf'),
        (np.zeros((2, 2), np.uint8), 'uint8'),
        (np.zeros((2, 2, 3)), r'\(2, 2, 3\)'),
    ):
        np.save(path, wrong)
        with pytest.raises(DataError, match=words):
            read_metres(path)


def test_normals_in_other_ranges_are_refused(tmp_path):
    path = str(tmp_path / 'n.npy')
    np.save(path, rng.uniform(0, 255, (2, 2, 3)))
    with pytest.raises(DataError, match=r'n.npy: normals run from .* must be in \[-1, 1\]'):
        read_normals(path)
    np.save(path, np.zeros((2, 2, 3), np.int64))
    with pytest.raises(DataError, match='int64'):
        read_normals(path)
    np.save(path, np.full((2, 2, 3), np.nan))
    assert (read_normals(path) == 0).all()


@pytest.mark.parametrize('extension', ['.png', '.jpg'])
@pytest.mark.parametrize('share', [0.02, 0.6, 0.99])
def test_a_truncated_picture_is_refused(tmp_path, extension, share):
    img = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    content = cv2.imencode(extension, img)[1].tobytes()
    path = tmp_path / f'cut{extension}'
    path.write_bytes(content)
    assert read_image(str(path)).shape == img.shape
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=r'cut.*is not a complete image'):
        read_image(str(path))


def test_axes_are_turned_to_those_of_the_library():
    assert axis_signs('x-right y-up z-back').tolist() == [1, 1, 1]
    assert axis_signs('x-left y-down z-front').tolist() == [-1, -1, -1]
    with pytest.raises(ValueError, match=r"right-down.*'x-right y-up z-back'"):
        axis_signs('right-down')


def test_eight_bit_normals_decode_to_half_a_level():
    normals = rng.normal(size=(20, 20, 3))
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    stored = np.rint((normals + 1) * 127.5).astype(np.uint8)
    decoded = decode_normals(stored, 'x-right y-down z-back')
    expected = normals * [1, -1, 1]
    assert np.allclose(np.linalg.norm(decoded, axis=-1), 1, atol=1e-6)
    angle = np.rad2deg(np.arccos(np.clip((decoded * expected).sum(-1), -1, 1)))
    assert angle.max() < 0.45  # half a level is 1 / 255 per axis


def test_unknown_normals():
    stored = np.array([[[0, 0, 0], [np.nan, 0, 1], [0, 0, 0.05], [0, 3, 0]]])
    assert decode_normals(stored)[0].tolist() == [[0, 0, 0], [0, 0, 1], [0, 0, 1], [0, 1, 0]]
    assert decode_normals(stored, min_norm=0.1)[0, 2].tolist() == [0, 0, 0]


def test_folder_index_prefers_the_first_extension(tmp_path):
    for name in ('1.jpg', '1.png', '2.JPG', '3.txt'):
        (tmp_path / name).touch()
    assert folder_index(str(tmp_path), ('.png', '.jpg')) == {'1': '1.png', '2': '2.JPG'}
    assert folder_index(str(tmp_path / 'none'), ('.png',)) == {}


def test_lists_are_stripped(tmp_path):
    (tmp_path / 'l.txt').write_text('a\r\n\n b \n')
    assert read_list(str(tmp_path / 'l.txt')) == ['a', 'b']


def test_the_mark_that_some_editors_write_is_no_part_of_a_name(tmp_path):
    (tmp_path / 'list.txt').write_bytes(b'\xef\xbb\xbf0001\r\n0002\r\n')
    assert read_list(str(tmp_path / 'list.txt')) == ['0001', '0002']
