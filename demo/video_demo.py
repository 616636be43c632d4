r"""Every dense map of a video, as a video.

::

    python demo/video_demo.py walk.mp4 mtl_r18-thin_1xb8-600_rooms-96x128 \
        work_dirs/mtl_r18-thin_1xb8-600_rooms-96x128/iter_600.pth \
        --out walk_maps.mp4

Frames are read, predicted and written one after another, so that a video of any length fits into
memory.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track

from mmdense.apis.inputs import count_inputs, frames_per_second
from mmdense.apis.model_options import add_model_options, looks_of, model_of
from mmdense.engine.launch import guard
from mmdense.utils.command_line import ToolParser
from mmdense.utils.config_check import ConfigError

#: Ending of the file to its codec.
CODECS = {'.mp4': 'mp4v', '.avi': 'MJPG'}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(__doc__)
    parser.add_argument('input', help='video; or a folder of frames, in the order of their names')
    add_model_options(parser)
    parser.add_argument('--out', default='video_maps.mp4', help='.mp4 or .avi (%(default)s)')
    parser.add_argument('--fps', type=float, help='of the result (default: as the video; 25)')
    parser.add_argument('--batch-size', type=int, default=1, help='frames at once (1)')
    parser.add_argument('--out-dir', help='folder for the .npz of every frame too')
    return parser.parse_args(argv)


class VideoFile:
    """A video that is opened when its first frame tells the size.

    Args:
        path (str): ``.mp4`` or ``.avi``.
        rate (float): Frames per second.

    Raises:
        ConfigError: If OpenCV cannot write it.
    """

    def __init__(self, path: str, rate: float) -> None:
        if Path(path).suffix.lower() not in CODECS:
            raise ConfigError(f'--out {path}: end it with {" or ".join(CODECS)}.')
        self.path, self.rate, self.frames = path, rate, 0
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)

    def write(self, picture: np.ndarray) -> None:
        """Append a frame ``(H, W, 3)``, RGB; sides are cut to even numbers, as codecs want."""
        even = picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2]
        if self._writer is None:
            Path(self.path).parent.mkdir(parents=True, exist_ok=True)
            codec = cv2.VideoWriter_fourcc(*CODECS[Path(self.path).suffix.lower()])
            self._size = even.shape[1], even.shape[0]
            self._writer = cv2.VideoWriter(self.path, codec, self.rate, self._size)
            if not self._writer.isOpened():
                raise ConfigError(f'--out {self.path}: OpenCV cannot write it here; try .avi.')
        if (even.shape[1], even.shape[0]) != self._size:
            even = cv2.resize(even, self._size)
        self._writer.write(cv2.cvtColor(even, cv2.COLOR_RGB2BGR))
        self.frames += 1

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.release()


def run(args: argparse.Namespace) -> None:
    """Predict and draw frame after frame."""
    is_video = Path(args.input).is_file()
    rate = args.fps or (frames_per_second(args.input) if is_video else 25.0)
    video = VideoFile(args.out, rate)
    inferencer = model_of(args)
    frames = inferencer.stream(
        args.input,
        batch_size=args.batch_size,
        out_dir=args.out_dir,
        formats=('npz',),
        **looks_of(args),
    )
    if not args.no_progress:
        frames = track(frames, 'frames', total=count_inputs(args.input))
    try:
        for found in frames:
            # Legends change with what is seen, and the size of the panels with them.
            video.write(inferencer.draw(found, legends=False))
    finally:
        video.close()
    print(f'{video.frames} frames at {rate:g} per second: {args.out}')


def main(argv: list[str] | None = None) -> int:
    """Run the demo and return the exit code."""
    args = parse_args(argv)
    return guard(lambda: run(args), debug=args.debug)


if __name__ == '__main__':
    sys.exit(main())
