"""Run an exported network on pictures with numpy and onnxruntime alone.

::

    python tools/deployment/run_onnx.py model.onnx photo.jpg --out-dir maps

Needs no PyTorch and no mmdense, so that this one file can be copied to another machine with
the network; pictures are read with Pillow or OpenCV, whichever is there. What goes in and what
comes out is read from the network's metadata. Per picture: ``NAME.npz`` with every map at the size
of the picture (floating-point values as float32) and ``NAME_TASK.png``, which is for looking only.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

INSTALL = 'pip install numpy onnxruntime pillow'


class RunError(Exception):
    """Something that the user can mend; the text says what."""


def picture_library():
    """Name and module of what reads and writes pictures."""
    try:
        from PIL import Image

        return 'PIL', Image
    except ImportError:
        pass
    try:
        import cv2

        return 'cv2', cv2
    except ImportError as error:
        raise RunError(f'Neither Pillow nor OpenCV is installed: {INSTALL}') from error


def read_picture(path):
    """A picture as ``(H, W, 3)`` uint8, RGB, upright as its EXIF entry says."""
    name, library = picture_library()
    if name == 'PIL':
        from PIL import ImageOps

        try:
            with library.open(path) as file:
                return np.asarray(ImageOps.exif_transpose(file).convert('RGB'))
        except OSError as error:
            raise RunError(f'{path}: cannot be read as a picture ({error}).') from error
    picture = library.imread(str(path), library.IMREAD_COLOR)
    if picture is None:
        raise RunError(f'{path}: cannot be read as a picture.')
    return np.ascontiguousarray(picture[..., ::-1])


def write_picture(path, picture):
    """``(H, W, 3)`` uint8, RGB, to a PNG file."""
    name, library = picture_library()
    if name == 'PIL':
        library.fromarray(picture).save(path)
    else:
        library.imwrite(str(path), picture[..., ::-1])


def resize(values, size, nearest=False):
    """``(H, W, C)`` to ``(*size, C)``: bilinear with pixel centres at halves, or nearest."""
    if values.shape[:2] == tuple(size):
        return values
    if nearest:
        rows, columns = (
            np.minimum(np.arange(new) * old // new, old - 1) for new, old in zip(size, values.shape)
        )
        return values[rows[:, None], columns]
    out = values.astype(np.float32)
    for axis, new in enumerate(size):
        old = out.shape[axis]
        place = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, old - 1)
        low = np.floor(place).astype(int)
        high = np.minimum(low + 1, old - 1)
        weight = (place - low).astype(np.float32).reshape(-1, *[1] * (out.ndim - axis - 1))
        out = (1 - weight) * np.take(out, low, axis) + weight * np.take(out, high, axis)
    return out


class Network:
    """An exported network and what it says of itself.

    Args:
        path: ``.onnx`` that ``tools/deployment/export.py`` wrote.
        provider: Execution provider of onnxruntime; None: the best that is there.
        fit: How a picture gets the size of a network of fixed size: ``'letterbox'`` keeps its
            proportions and pads it, ``'stretch'`` does not.
    """

    def __init__(self, path, provider=None, fit='letterbox'):
        try:
            import onnxruntime
        except ImportError as error:
            raise RunError(f'onnxruntime is missing: {INSTALL}') from error
        if not Path(path).is_file():
            raise RunError(f'{path} does not exist.')
        known = onnxruntime.get_available_providers()
        if provider is not None and provider not in known:
            raise RunError(f'provider {provider} is not here; there are: {", ".join(known)}.')
        try:
            self.session = onnxruntime.InferenceSession(
                str(path), providers=known if provider is None else [provider]
            )
        # onnxruntime raises classes of its own, all straight from Exception.
        except Exception as error:
            raise RunError(f'{path}: onnxruntime cannot load it ({error}).') from error
        texts = self.session.get_modelmeta().custom_metadata_map
        if 'mmdense' not in texts:
            raise RunError(
                f'{path}: tools/deployment/export.py of mmdense did not write this file.'
            )
        self.record = json.loads(texts['mmdense'])
        self.input = self.record['input']
        self.fit = fit

    def __call__(self, picture):
        """Maps of one picture.

        Args:
            picture: ``(H, W, 3)`` uint8, RGB.

        Returns:
            dict: Task to ``(H, W)`` or ``(H, W, D)``, at the size of the picture.
        """
        canvas, box, scaled = self.prepare(picture)
        names = [output.name for output in self.session.get_outputs()]
        feed = {self.input['name']: canvas.transpose(2, 0, 1)[None].astype(np.float32)}
        outputs = self.session.run(names, feed)
        maps = {}
        for name, output in zip(names, outputs):
            content = output[0].transpose(1, 2, 0)[: box[0], : box[1]]
            maps[name] = self.back(name, content, picture.shape[:2] if scaled else box)
        return maps

    def prepare(self, picture):
        """What goes in, the size of the picture in it, and whether the picture was scaled."""
        height, width = picture.shape[:2]
        if 'size' in self.input['dynamic']:
            step, rest = self.input['size_rule']
            target = [max(-(-(side - rest) // step), 1) * step + rest for side in (height, width)]
            box = (height, width)
        else:
            target = self.input['shape']
            factor = min(target[0] / height, target[1] / width)
            box = tuple(
                min(max(round(side * factor), 1), limit)
                for side, limit in zip((height, width), target)
            )
            if self.fit == 'stretch':
                box = tuple(target)
        # Padding becomes 0 after normalisation.
        canvas = np.empty((*target, 3), np.float32)
        canvas[:] = self.input['mean']
        canvas[: box[0], : box[1]] = resize(picture, box)
        return canvas, box, box != (height, width)

    def back(self, name, values, size):
        """A map at ``size``; labels are not mixed, directions stay unit vectors."""
        decoded = self.record['output'] == 'maps'
        kind = self.record['tasks'][name]['kind'] if decoded else 'values'
        values = resize(values, size, nearest=kind == 'labels')
        if kind == 'direction':
            length = np.linalg.norm(values, axis=-1, keepdims=True)
            values = values / np.maximum(length, 1e-6)
        return values[..., 0] if values.shape[-1] == 1 else values

    def picture_of(self, name, values):
        """A map as ``(H, W, 3)`` uint8, to look at."""
        task = self.record['tasks'][name]
        if task['kind'] == 'labels':
            return np.asarray(task['palette'], np.uint8)[values]
        if task['kind'] == 'direction':
            return np.rint((values + 1) * 127.5).astype(np.uint8)
        grey = values if values.ndim == 2 else values[..., 0]
        if task['kind'] != 'probability':
            low, high = np.percentile(grey, (1, 99))
            grey = np.clip((grey - low) / max(high - low, 1e-6), 0, 1)
            # Near is bright.
            grey = 1 - grey if task['kind'] == 'depth' and task['unit'] == 'm' else grey
        return np.repeat(np.rint(255 * grey).astype(np.uint8)[..., None], 3, -1)


def save(network, maps, out_dir, name):
    """Write the maps of a picture; returns the file with the numbers."""
    out_dir.mkdir(parents=True, exist_ok=True)
    path = out_dir / f'{name}.npz'
    np.savez_compressed(path, **maps, mmdense=json.dumps(network.record))
    if network.record['output'] == 'maps':
        for task, values in maps.items():
            write_picture(out_dir / f'{name}_{task}.png', network.picture_of(task, values))
    return path


def run(args):
    """Run over all pictures; one that cannot be read does not stop the others."""
    network = Network(args.model, args.provider, args.fit)
    failed = 0
    for index, path in enumerate(args.pictures, 1):
        try:
            picture = read_picture(path)
        except RunError as error:
            failed += 1
            sys.stderr.write(f'[{index}/{len(args.pictures)}] skipped: {error}\n')
            continue
        began = time.perf_counter()
        maps = network(picture)
        seconds = time.perf_counter() - began
        written = save(network, maps, Path(args.out_dir), Path(path).stem)
        print(f'[{index}/{len(args.pictures)}] {path} -> {written} ({1000 * seconds:.0f} ms)')
        for task, values in maps.items():
            print(f'  {describe(network, task, values)}')
    return 1 if failed else 0


def describe(network, task, values):
    """One line about a map."""
    told = network.record['tasks'][task]
    if told['kind'] == 'labels' and network.record['output'] == 'maps':
        labels, counts = np.unique(values, return_counts=True)
        order = np.argsort(-counts)[:3]
        shares = [f'{told["classes"][labels[i]]} {counts[i] / values.size:.0%}' for i in order]
        return f'{task}: {", ".join(shares)}'
    return f'{task}: {values.min():.3g} to {values.max():.3g} {told["unit"]}'.rstrip()


def main(argv=None):
    """Read the command line and return the exit code."""
    parser = argparse.ArgumentParser(
        description='Run an exported network on pictures, with numpy and onnxruntime alone.',
        epilog='Examples:\n\n'
        '    python tools/deployment/run_onnx.py model.onnx photo.jpg --out-dir maps',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('model', help='.onnx file of tools/deployment/export.py')
    parser.add_argument('pictures', nargs='+', help='picture files')
    parser.add_argument('--out-dir', default='maps', help='folder (default: %(default)s)')
    parser.add_argument('--provider', help='of onnxruntime, such as CUDAExecutionProvider')
    parser.add_argument(
        '--fit',
        choices=('letterbox', 'stretch'),
        default='letterbox',
        help='how a picture gets the size of a network of fixed size (default: %(default)s)',
    )
    args = parser.parse_args(argv)
    try:
        return run(args)
    except RunError as error:
        sys.stderr.write(f'error: {error}\n')
        return 2


if __name__ == '__main__':
    sys.exit(main())
