"""The commands of tools/dataset_converters, as a user types them."""

import importlib.util
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import savemat

ROOT = Path(__file__).parents[2]


def tool(name):
    path = ROOT / 'tools' / 'dataset_converters' / f'{name}.py'
    spec = importlib.util.spec_from_file_location(f'converter_{name}', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def rooms(layout, out, *options):
    return tool('rooms')(
        ['--layout', layout, '--out', str(out), '--train', '2', '--val', '1', '--size', '96',
         '128', '--quiet', *options]
    )  # fmt: skip


LAYOUTS = [
    'folder',
    'nyud',
    'nyud-mt',
    'nyuv2',
    'pascal',
    'cityscapes',
    'cityscapes-small',
    'taskonomy',
]


@pytest.mark.parametrize('layout', LAYOUTS)
def test_rooms_and_check(tmp_path, capsys, layout):
    assert rooms(layout, tmp_path) == 0
    assert 'train 2, val 1 pictures; 3 written' in capsys.readouterr().out
    assert rooms(layout, tmp_path) == 0
    assert '0 written' in capsys.readouterr().out
    name = layout.removesuffix('-mt')
    out = tmp_path / 'report.json'
    check = [name, '--split', 'val', '--data-root', str(tmp_path), '--json', str(out), '--quiet']
    assert tool('check')(check) == 0
    assert 'Nothing wrong was found.' in capsys.readouterr().out
    report = json.loads(out.read_text())
    assert report['pictures'] == 1
    assert len(report['checksum']) == 64


def test_a_size_that_cannot_be_is_one_line(tmp_path, capsys):
    assert rooms('nyud', tmp_path, '--size', '4', '4') == 1
    error = capsys.readouterr().err
    assert 'size is (4, 4), expected (H, W) of at least 8' in error
    assert 'Traceback' not in error


def test_check_takes_a_config(tmp_path, capsys, monkeypatch):
    assert rooms('nyud', tmp_path) == 0
    config = ROOT / 'configs' / '_base_' / 'datasets' / 'nyud_4task.py'
    monkeypatch.chdir(tmp_path)
    command = [str(config), '--data-root', str(tmp_path), '--quiet', '--no-checksum']
    assert tool('check')(command) == 0
    assert '| boundary' in capsys.readouterr().out
    assert tool('check')([*command, '--tasks', 'depth', '--split', 'val']) == 0
    assert '| boundary' not in capsys.readouterr().out
    assert tool('check')([*command, '--tasks', 'dept']) == 1
    error = capsys.readouterr().err
    assert "task 'dept'" in error and "'depth'" in error and 'Traceback' not in error


def test_check_writes_and_verifies_checksums(tmp_path, capsys):
    root, manifest = tmp_path / 'data', tmp_path / 'nyud.sha256'
    assert rooms('nyud', root) == 0
    base = ['nyud', '--data-root', str(root), '--quiet']
    assert tool('check')([*base, '--write', str(manifest)]) == 0
    assert tool('check')([*base, '--verify', str(manifest)]) == 0
    # One pixel of one picture, which no plausibility test could see.
    path = root / 'images' / 'train_00000.png'
    image = cv2.imread(str(path))
    image[0, 0, 0] ^= 1
    cv2.imwrite(str(path), image)
    capsys.readouterr()
    assert tool('check')([*base, '--verify', str(manifest)]) == 1
    assert '1 files are changed' in capsys.readouterr().out
    # Part of the pictures does not wait for all files, unless asked.
    assert tool('check')([*base, '--limit', '1']) == 0
    assert 'data checksum' not in capsys.readouterr().out
    assert tool('check')([*base, '--limit', '1', '--verify', str(manifest)]) == 1


def test_check_fails_on_damage_and_on_wrong_commands(tmp_path, capsys):
    assert rooms('nyud', tmp_path) == 0
    path = tmp_path / 'segmentation' / 'train_00001.png'
    cv2.imwrite(str(path), np.full((96, 128), 200, np.uint8))
    assert tool('check')(['nyud', '--data-root', str(tmp_path), '--quiet']) == 1
    assert 'labels run from 200 to 200' in capsys.readouterr().out
    assert tool('check')(['nyud', '--data-root', str(tmp_path / 'no'), '--quiet']) == 1
    assert 'does not exist' in capsys.readouterr().err
    assert tool('check')(['nyu', '--quiet']) == 1
    assert "There is no data set 'nyu'" in capsys.readouterr().err
    for command in ([], ['nyud', '--limit', '0']):
        with pytest.raises(SystemExit):
            tool('check')(command)


def test_rooms_without_pictures_are_refused(tmp_path, capsys):
    command = ['--layout', 'nyud', '--out', str(tmp_path), '--train', '0', '--val', '-1']
    assert tool('rooms')(command) == 1
    assert 'No picture is asked for' in capsys.readouterr().err


def test_check_prints_mirrors(capsys):
    assert tool('check')(['--mirrors', 'nyud']) == 0
    assert 'lacks:' in capsys.readouterr().out
    assert tool('check')(['--mirrors', 'nyu']) == 1


def test_rooms_in_archives(tmp_path):
    assert rooms('taskonomy', tmp_path, '--tar') == 0
    assert sorted(path.name for path in tmp_path.glob('*.tar')) == ['train0.tar', 'val0.tar']


def test_cityscapes_from_rooms_to_small_arrays(tmp_path, capsys):
    full, small = tmp_path / 'full', tmp_path / 'small'
    assert rooms('cityscapes', full) == 0
    source = ['--source', str(full)]
    assert tool('cityscapes')([*source, '--check']) == 0
    assert 'split train has 2 pictures with all files' in capsys.readouterr().out
    command = [*source, '--out', str(small), '--size', '48', '64', '--workers', '2', '--quiet']
    assert tool('cityscapes')(command) == 0
    assert np.load(small / 'val' / 'label_7' / '0.npy').shape == (48, 64)
    next(full.glob('camera/val/*/*')).unlink()
    assert tool('cityscapes')([*source, '--check']) == 1
    assert 'camera_trainvaltest.zip' in capsys.readouterr().err


def test_taskonomy_from_rooms_to_archives(tmp_path, capsys):
    full, small = tmp_path / 'full', tmp_path / 'small'
    assert rooms('taskonomy', full) == 0
    table = str(full / 'splits' / 'train_val_test_tiny.csv')
    command = ['--source', str(full), '--table', table, '--splits', 'train', 'val', '--quiet']
    shrink = [*command, '--out', str(small), '--size', '48', '64', '--tar', '--remove-folders']
    assert tool('taskonomy')(shrink) == 0
    assert not (small / 'train0').exists()
    index = (small / 'index' / 'train0.txt').read_text()
    # Again: the archives are there, so nothing is done.
    capsys.readouterr()
    assert tool('taskonomy')(shrink) == 0
    assert '0 written' in capsys.readouterr().out
    assert (small / 'index' / 'train0.txt').read_text() == index
    assert tool('taskonomy')([*command, '--out', str(full), '--size', '8', '8']) == 1
    assert 'only lists and indexes' in capsys.readouterr().err


def test_pascal_from_rooms_to_itself(tmp_path, capsys):
    source, out = tmp_path / 'source', tmp_path / 'out'
    assert rooms('pascal', source) == 0
    command = [
        '--images', str(source / 'JPEGImages'), '--lists', str(source / 'ImageSets' / 'Context'),
        '--context', str(source / 'pascal-context' / 'trainval'),
        '--parts', str(source / 'human_parts'), '--normals', str(source / 'normals_distill'),
        '--saliency', str(source / 'sal_distill'), '--semseg', str(source / 'semseg' / 'VOC12'),
        '--out', str(out), '--quiet',
    ]  # fmt: skip
    assert tool('pascal_context')(command) == 0
    for path in source.rglob('*_*.*'):
        if path.name not in ('conversion.json', 'normal_ids.txt'):
            assert (out / path.relative_to(source)).read_bytes() == path.read_bytes(), path
    capsys.readouterr()
    command[1] = str(tmp_path / 'nowhere')
    assert tool('pascal_context')(command) == 1
    assert "no file of 'img'" in capsys.readouterr().err


def test_nyu_depth_v2_both_ways(tmp_path, capsys):
    h5py = pytest.importorskip('h5py')
    rng = np.random.default_rng(0)
    with h5py.File(tmp_path / 'labeled.mat', 'w') as file:
        file['images'] = rng.integers(0, 256, (2, 3, 640, 480), dtype=np.uint8)
        file['depths'] = np.full((2, 640, 480), 2, np.float32)
        file['labels'] = np.ones((2, 640, 480), np.uint16)
        file['labels'][:, :300] = 2
        file['instances'] = np.ones((2, 640, 480), np.uint8)
    savemat(tmp_path / 'splits.mat', dict(trainNdxs=[[1]], testNdxs=[[2]]))
    savemat(tmp_path / 'mapping.mat', dict(mapClass=[[21, 40]]))
    command = [
        '--labeled', str(tmp_path / 'labeled.mat'), '--splits', str(tmp_path / 'splits.mat'),
        '--mapping', str(tmp_path / 'mapping.mat'), '--quiet',
    ]  # fmt: skip
    assert tool('nyud')([*command, '--out', str(tmp_path / 'nyud')]) == 0
    assert (tmp_path / 'nyud' / 'gt_sets' / 'val.txt').read_text() == '0002\n'
    assert tool('nyuv2')([*command, '--out', str(tmp_path / 'nyuv2')]) == 0
    assert np.load(tmp_path / 'nyuv2' / 'val' / 'normal' / '0.npy').shape == (288, 384, 3)
    for name in ('nyud', 'nyuv2'):
        assert tool('check')([name, '--data-root', str(tmp_path / name), '--quiet']) == 0
    capsys.readouterr()
    assert tool('nyud')([*command, '--splits', str(tmp_path / 'no.mat')]) == 1
    assert 'it must be splits.mat' in capsys.readouterr().err


def test_a_full_disk_and_ctrl_c_say_that_the_command_goes_on(tmp_path, capsys, monkeypatch):
    def full(*_):
        raise OSError(28, 'No space left on device')

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr('mmdense.datasets.writers.base.atomic_write_bytes', full)
    assert rooms('nyud', tmp_path) == 1
    assert 'No space left on device. Check space' in capsys.readouterr().err
    monkeypatch.setattr('mmdense.datasets.writers.base.atomic_write_bytes', stop)
    assert rooms('nyud', tmp_path) == 130
    assert 'the same command goes on' in capsys.readouterr().err


def documented_commands():
    """Commands of the data page, line continuations joined."""
    blocks = re.findall(r'```bash\n(.*?)```', (ROOT / 'docs' / 'datasets.md').read_text(), re.S)
    lines = '\n'.join(blocks).replace('\\\n', ' ').splitlines()
    return [line.split('#')[0].strip() for line in lines if line.startswith('python ')]


def test_the_data_page_has_a_command_for_every_converter():
    named = {command.split()[1] for command in documented_commands()}
    there = {
        str(path.relative_to(ROOT)) for path in (ROOT / 'tools' / 'dataset_converters').glob('*.py')
    }
    assert named == there


@pytest.mark.parametrize('command', documented_commands())
def test_documented_options_exist(command, capsys):
    _, script, *words = command.split()
    with pytest.raises(SystemExit):
        tool(Path(script).stem)(['--help'])
    usage = capsys.readouterr().out
    for word in words:
        if word.startswith('--'):
            assert re.search(rf'{word}[\s,\]]', usage), word
