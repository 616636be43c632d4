import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mmdense.datasets.sources import RoomsSource
from mmdense.datasets.writers import NYUDWriter, NYUv2Writer
from mmdense.datasets.writers.convert import STATE_FILE, convert, read_state
from mmdense.utils import DataError

ROOT = Path(__file__).parents[3]


class Numbers:
    """A source of pictures that show their number; fails at one of them."""

    tasks = ('depth',)

    def __init__(self, count, fails_at=None, **settings):
        self.count, self.fails_at, self.settings, self.reads = count, fails_at, settings, []

    def ids(self):
        return dict(train=[''] * self.count)

    def read(self, split, index):
        self.reads.append(index)
        if index == self.fails_at:
            raise DataError(f'picture {index} is broken')
        return dict(
            img=np.full((8, 8, 3), index, np.uint8),
            gt=dict(depth=np.full((8, 8), index + 1, np.float32)),
        )


def contents(root):
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob('*')
        if path.is_file() and path.name != STATE_FILE
    }


def test_an_interrupted_conversion_is_visible_and_goes_on(tmp_path):
    with pytest.raises(DataError, match='picture 3 is broken'):
        convert(Numbers(6, fails_at=3), NYUDWriter(tmp_path / 'a'), show=False)
    assert not (tmp_path / 'a' / 'gt_sets').exists()
    assert read_state(tmp_path / 'a')['finished'] is False
    source = Numbers(6)
    done = convert(source, NYUDWriter(tmp_path / 'a'), show=False)
    assert (done.written, done.kept) == (3, 3)
    assert source.reads == [3, 4, 5]
    assert read_state(tmp_path / 'a')['finished'] is True
    convert(Numbers(6), NYUDWriter(tmp_path / 'b'), show=False)
    assert contents(tmp_path / 'a') == contents(tmp_path / 'b')


def test_damaged_and_deleted_files_are_written_again(tmp_path):
    convert(Numbers(4), NYUDWriter(tmp_path), show=False)
    whole = contents(tmp_path)
    (tmp_path / 'depth' / 'train_00001.npy').unlink()
    cut = tmp_path / 'images' / 'train_00002.png'
    cut.write_bytes(cut.read_bytes()[:-10])
    source = Numbers(4)
    convert(source, NYUDWriter(tmp_path), show=False)
    assert source.reads == [1, 2]
    assert contents(tmp_path) == whole


def test_a_failing_write_leaves_no_part_of_a_file(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('os.fsync', full)
    with pytest.raises(OSError, match='No space left'):
        NYUDWriter(tmp_path).write('train', 0, Numbers(1).read('train', 0))
    assert not [path for path in tmp_path.rglob('*') if path.is_file()]


def test_the_picture_is_written_last(tmp_path, monkeypatch):
    order = []
    monkeypatch.setattr(
        'mmdense.datasets.writers.base.atomic_write_bytes',
        lambda path, data: order.append(path.parent.name),
    )
    NYUDWriter(tmp_path).write('train', 0, Numbers(1).read('train', 0))
    assert order == ['depth', 'images']


def test_other_settings_are_refused_unless_everything_is_written_anew(tmp_path):
    convert(Numbers(3, seed=0), NYUDWriter(tmp_path), show=False)
    with pytest.raises(DataError, match=r"other settings: \{'seed': 0\}, now \{'seed': 1\}"):
        convert(Numbers(3, seed=1), NYUDWriter(tmp_path), show=False)
    with pytest.raises(DataError, match='is broken'):
        convert(Numbers(3, 1, seed=1), NYUDWriter(tmp_path, overwrite=True), show=False)
    # Half of the pictures are of the old settings now.
    with pytest.raises(DataError, match='stopped while it replaced'):
        convert(Numbers(3, seed=1), NYUDWriter(tmp_path), show=False)
    done = convert(Numbers(3, seed=1), NYUDWriter(tmp_path, overwrite=True), show=False)
    assert done.written == 3
    assert convert(Numbers(3, seed=1), NYUDWriter(tmp_path), show=False).kept == 3


def test_more_pictures_extend_a_finished_conversion(tmp_path):
    convert(Numbers(2), NYUDWriter(tmp_path), show=False)
    done = convert(Numbers(5), NYUDWriter(tmp_path), show=False)
    assert (done.written, done.kept) == (3, 2)
    assert len((tmp_path / 'gt_sets' / 'train.txt').read_text().splitlines()) == 5


def test_workers_write_the_same_files(tmp_path):
    source = RoomsSource('nyuv2', dict(train=5, val=2), (24, 32))
    convert(source, NYUv2Writer(tmp_path / 'one'), show=False)
    convert(source, NYUv2Writer(tmp_path / 'two'), workers=2, show=False)
    one, two = contents(tmp_path / 'one'), contents(tmp_path / 'two')
    assert one == two
    assert len(one) == 7 * 4 + 2


def test_an_error_of_a_worker_reaches_the_user(tmp_path):
    with pytest.raises(DataError, match='picture 3 is broken'):
        convert(Numbers(20, fails_at=3), NYUDWriter(tmp_path), workers=2, show=False)


def test_a_damaged_state_file_is_named(tmp_path):
    (tmp_path / STATE_FILE).write_text('{"finished": tr')
    with pytest.raises(DataError, match=STATE_FILE):
        read_state(tmp_path)


@pytest.mark.slow
def test_a_killed_command_goes_on(tmp_path):
    command = [
        sys.executable, 'tools/dataset_converters/rooms.py', '--layout', 'nyud', '--train', '60',
        '--val', '4', '--size', '120', '160', '--out', str(tmp_path / 'a'),
    ]  # fmt: skip
    env = {**os.environ, 'PYTHONPATH': str(ROOT)}
    process = subprocess.Popen(
        command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    images = tmp_path / 'a' / 'images'
    deadline = time.time() + 60
    while time.time() < deadline and len(list(images.glob('train*.png'))) < 5:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {path.name: path.stat().st_mtime_ns for path in images.glob('train*.png')}
    assert 5 <= len(before) < 60
    assert not (tmp_path / 'a' / 'gt_sets').exists()
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert f'{64 - len(before)} written' in done.stdout
    after = {path.name: path.stat().st_mtime_ns for path in images.glob('*.png')}
    assert len(after) == 64
    assert {name: after[name] for name in before} == before
    assert json.loads((tmp_path / 'a' / STATE_FILE).read_text())['finished']
