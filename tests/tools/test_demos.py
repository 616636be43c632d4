import importlib.util
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from picture_files import bad_files, good_files
from tiny_predictor import tiny_checkpoint, tiny_config

ROOT = Path(__file__).parents[2]


@pytest.fixture
def demo():
    def load(path):
        spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def model(tmp_path):
    config = tmp_path / 'tiny.py'
    tiny_config(size_divisor=8).dump(config)
    return [str(config), tiny_checkpoint(tmp_path / 'tiny.pth')]


def test_image_demo_writes_every_map_and_names_what_it_refuses(demo, model, tmp_path, capsys):
    shots = tmp_path / 'shots'
    shots.mkdir()
    for name, (content, _) in {**good_files(), **bad_files()}.items():
        if name in ('cmyk.jpg', 'grey.png', 'truncated.png'):
            (shots / name).write_bytes(content)
    out = tmp_path / 'out'
    options = ['--out-dir', str(out), '--device', 'cpu', '--flip', '--no-progress']
    main = demo('demo/image_demo.py').main
    assert main([str(shots), *model, *options, '--intrinsics', '60', '60', '32', '24']) == 0
    printed = capsys.readouterr().out
    assert 'depth: depth [m], distance along the optical axis' in printed
    assert '2 pictures' in printed
    assert '1 refused' in printed
    names = {path.name for path in out.iterdir()}
    for stem in ('cmyk', 'grey'):
        assert {f'{stem}.npz', f'{stem}.ply', f'{stem}_panel_picture.png'} <= names
    assert not [name for name in names if name.startswith('truncated')]


def test_image_demo_says_what_is_wrong_in_one_line(demo, model, tmp_path, capsys):
    main = demo('demo/image_demo.py').main
    assert main([str(tmp_path / 'gone.jpg'), *model, '--no-progress']) == 1
    assert 'gone.jpg: no such file or folder' in capsys.readouterr().err
    assert main(['x.jpg', 'no_such_config', model[1]]) == 2
    assert "config 'no_such_config' is neither a file nor one of" in capsys.readouterr().err


def test_video_demo_draws_every_frame(demo, model, tmp_path, capsys):
    path, out = str(tmp_path / 'walk.avi'), str(tmp_path / 'maps.avi')
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*'MJPG'), 7, (64, 48))
    for level in (20, 90, 160):
        writer.write(np.full((48, 64, 3), level, np.uint8))
    writer.release()
    main = demo('demo/video_demo.py').main
    options = ['--out', out, '--device', 'cpu', '--no-progress', '--batch-size', '2']
    assert main([path, *model, *options]) == 0
    assert '3 frames at 7 per second' in capsys.readouterr().out
    video = cv2.VideoCapture(out)
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 3
    assert video.get(cv2.CAP_PROP_FPS) == 7
    assert video.get(cv2.CAP_PROP_FRAME_WIDTH) > 3 * 300
    assert main([path, *model, '--out', str(tmp_path / 'maps.gif'), '--device', 'cpu']) == 2
    assert 'end it with .mp4 or .avi' in capsys.readouterr().err


@pytest.mark.slow
def test_memory_stays_flat_while_pictures_are_streamed(demo, model, capsys):
    main = demo('tools/analysis_tools/inference_memory.py').main
    options = ['--pictures', '60', '--mark', '20', '--every', '20', '--size', '32', '32']
    assert main([*model, *options, '--json', '--formats', 'npz']) == 0
    found = json.loads(capsys.readouterr().out)
    assert found['pictures'] == 60
    assert found['growth_mib'] < 50
    assert main([*model, *options, '--limit=-1e6', '--formats', 'npz']) == 1
    assert 'growth' in capsys.readouterr().out
