"""Pictures that programs stumble over, as the bytes of their files."""

import io

import cv2
import numpy as np
from PIL import Image


def picture(height=48, width=64):
    """A smooth picture in which no two corners are alike."""
    y, x = np.mgrid[:height, :width] / max(height, width, 2)
    return np.stack([250 * x, 250 * y, 120 * (x + y)], -1).astype(np.uint8)


def encoded(image, kind='PNG', **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def sixteen_bit(array, ending='.png'):
    levels = array.astype(np.uint16) * 257
    return cv2.imencode(ending, levels if levels.ndim == 2 else levels[..., ::-1])[1].tobytes()


def rotated(orientation, kind='JPEG'):
    """The file of a camera that was held another way, and what people see."""
    exif = Image.Exif()
    exif[0x112] = orientation
    upright = picture()
    turned = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    image = Image.fromarray(np.ascontiguousarray(turned))
    options = dict(quality=98, subsampling=0) if kind == 'JPEG' else {}
    return encoded(image, kind, exif=exif, **options), upright


def good_files():
    """Name to the content of a file and the picture that it is."""
    rgb = picture()
    image = Image.fromarray(rgb)
    grey = np.asarray(image.convert('L'))
    rgba = image.convert('RGBA')
    rgba.putalpha(Image.fromarray(grey))
    long = picture(500, 37)
    return {
        '1x1.png': (encoded(Image.fromarray(rgb[:1, :1])), rgb[:1, :1]),
        'long.png': (encoded(Image.fromarray(long)), long),
        'grey.png': (encoded(image.convert('L')), np.repeat(grey[..., None], 3, 2)),
        'rgba.png': (encoded(rgba), rgb),
        'grey16.png': (sixteen_bit(grey), np.repeat(grey[..., None], 3, 2)),
        'rgb16.png': (sixteen_bit(rgb), rgb),
        'rgb16.tiff': (sixteen_bit(rgb, '.tiff'), rgb),
        'cmyk.jpg': (encoded(image.convert('CMYK'), 'JPEG', quality=98, subsampling=0), rgb),
        'rotated.jpg': rotated(6),
        'array.npy': (npy(rgb / np.float32(255)), rgb),
    }


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def bad_files():
    """Name to the content of a file and a word of the reason why it is refused."""
    image = Image.fromarray(picture())
    jpeg, png = encoded(image, 'JPEG'), encoded(image)
    thumbnail = encoded(Image.fromarray(picture(8, 8)), 'JPEG')
    # A thumbnail in the head of the file has an end mark of its own.
    head = b'\xff\xe1' + (len(thumbnail) + 2).to_bytes(2, 'big') + thumbnail
    with_thumbnail = jpeg[:2] + head + jpeg[2:]
    return {
        'truncated.jpg': (jpeg[: len(jpeg) * 2 // 3], 'no end mark'),
        'thumbnail.jpg': (with_thumbnail[: len(head) + 60], 'no end mark'),
        'truncated.png': (png[: len(png) * 2 // 3], 'no end mark'),
        'empty.png': (b'', 'empty'),
        'page.jpg': (b'<html>404</html>', 'not a complete image'),
        'nan.npy': (npy(np.full((4, 4, 3), np.nan)), 'floats of a picture lie in'),
        'flat.npy': (npy(np.zeros(7)), r'expected a picture \(H, W, 3\)'),
    }
