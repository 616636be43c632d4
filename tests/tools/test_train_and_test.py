import importlib.util
import json
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]


def tool(name):
    spec = importlib.util.spec_from_file_location(f'tool_{name}', ROOT / 'tools' / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def train(*arguments):
    return tool('train')([str(item) for item in arguments])


def complaint(capfd):
    """The message of a tool: one paragraph at the very end, no traceback."""
    printed = capfd.readouterr().err
    assert 'Traceback (most recent call last)' not in printed
    return printed[printed.index('\nerror: ') :]


def test_train_resume_and_test(toy_config, tmp_path, capfd):
    work = tmp_path / 'run'
    assert train(toy_config, '--work-dir', work, '--seed', 3) == 0
    assert (work / 'iter_2.pth').exists()
    options = ('--resume', '--cfg-options', 'train_cfg.max_iters=3')
    assert train(toy_config, '--work-dir', work, *options) == 0
    assert (work / 'iter_3.pth').exists()
    assert 'resumed epoch: 0, iter: 2' in capfd.readouterr().out

    for out in ('numbers.json', 'all.pkl'):
        arguments = [toy_config, work / 'iter_3.pth', '--work-dir', work, '--out', tmp_path / out]
        assert tool('test')([str(item) for item in arguments]) == 0
    numbers = json.loads((tmp_path / 'numbers.json').read_text())
    assert numbers['metrics'] == {'toy/count': 4}
    assert numbers['checkpoint'].endswith('iter_3.pth')
    with open(tmp_path / 'all.pkl', 'rb') as file:
        assert len(pickle.load(file)) == 4


def test_mistakes_of_a_config_come_together(toy_config, capfd):
    options = ('model.widht=4', 'train_dataloader.dataset.type=ToyDatset')
    assert train(toy_config, '--cfg-options', *options) == 2
    text = complaint(capfd)
    assert "model.widht: ToyModel takes no argument 'widht'" in text
    assert "Did you mean 'width'?" in text
    assert "train_dataloader.dataset.type: 'ToyDatset'" in text
    assert "Did you mean 'ToyDataset'" in text


def test_refused_value_is_shown_without_traceback(toy_config, capfd):
    assert train(toy_config, '--cfg-options', 'model.width=0') == 1
    assert 'ToyModel: width is 0; give a positive number.' in complaint(capfd)


def test_missing_data_names_path_and_key(toy_config, capfd):
    key = 'train_dataloader.dataset.root'
    assert train(toy_config, '--cfg-options', f'{key}=data/nowhere') == 1
    text = complaint(capfd)
    assert f"{key} = 'data/nowhere'" in text
    assert f'--cfg-options {key}=...' in text


def test_bad_first_picture_is_named(toy_config, capfd):
    options = ('train_dataloader.dataset.fail_at=0', 'train_dataloader.batch_size=4')
    assert train(toy_config, '--cfg-options', *options) == 1
    assert 'picture 0 cannot be read: toy/0.png' in complaint(capfd)


@pytest.mark.parametrize('option', ['--resume', '--load-from'])
def test_missing_checkpoint(toy_config, capfd, option):
    assert train(toy_config, option, 'nowhere.pth') == 2
    text = complaint(capfd)
    assert f"{option} = 'nowhere.pth'" in text
    assert 'does not exist' in text


def test_damaged_checkpoint(toy_config, tmp_path, capfd):
    path = tmp_path / 'x.pth'
    torch.save(dict(a=torch.ones(1000)), path)
    path.write_bytes(path.read_bytes()[:1000])
    assert tool('test')([str(toy_config), str(path)]) == 2
    assert 'cut short' in complaint(capfd)


def test_wrong_name_for_results(toy_config, capfd):
    assert tool('test')([str(toy_config), 'x.pth', '--out', 'a.txt']) == 2
    assert '--out a.txt' in complaint(capfd)


def test_amp_needs_a_gpu(toy_config, capfd, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert train(toy_config, '--amp') == 2
    assert 'Leave --amp out' in complaint(capfd)


@pytest.mark.slow
def test_two_gloo_processes_train_and_test(toy_config, tmp_path, monkeypatch):
    monkeypatch.setenv('PYTHON', sys.executable)
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
    command = ['bash', ROOT / 'tools/dist_train.sh', toy_config, '2', '--work-dir', tmp_path / 'w']
    options = ['--cfg-options', 'sync_bn=torch']
    done = subprocess.run([*command, *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r'Distributed launcher: pytorch', done.stdout)
    assert re.search(r'GPU number: 2', done.stdout)
    assert 'sync_bn' in done.stderr
    checkpoint = tmp_path / 'w' / 'iter_2.pth'
    assert checkpoint.exists()
    out = tmp_path / 'numbers.json'
    done = subprocess.run(
        ['bash', ROOT / 'tools/dist_test.sh', toy_config, checkpoint, '2', '--out', out],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(out.read_text())['metrics'] == {'toy/count': 4}


@pytest.mark.slow
def test_failure_of_two_processes_stays_readable(toy_config, monkeypatch):
    monkeypatch.setenv('PYTHON', sys.executable)
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
    command = ['bash', ROOT / 'tools/dist_train.sh', toy_config, '2', '--cfg-options']
    done = subprocess.run([*command, 'model.widht=4'], capture_output=True, text=True)
    assert done.returncode == 2
    assert 'Traceback' not in done.stderr
    assert done.stderr.count("Did you mean 'width'?") == 1


@pytest.mark.parametrize('script', ['dist_train.sh', 'dist_test.sh', 'slurm_train.sh'])
def test_scripts_say_how_they_are_used(script):
    done = subprocess.run(['bash', ROOT / 'tools' / script], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith('usage: bash')


def test_number_of_processes_is_checked():
    command = ['bash', ROOT / 'tools/dist_train.sh', 'a.py', 'two']
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "is 'two'" in done.stderr
