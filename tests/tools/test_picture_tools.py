import json
import runpy
from pathlib import Path

TOOLS = Path(__file__).parents[2] / 'tools' / 'analysis_tools'

CONFIG = """
default_scope = 'mmdense'
tasks = dict(depth=dict(type='Depth'))
train_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='RoomsDataset', split='train', length=2, size=(16, 24), tasks=tasks,
                 pipeline=[dict(type='TaskAwareFlip', prob=1.0), dict(type='PackDenseInputs')]))
"""


def test_browse_dataset_says_where_the_pictures_are(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'own.py').write_text(CONFIG)
    main = runpy.run_path(str(TOOLS / 'browse_dataset.py'))['main']
    assert main(['own.py', '--number', '1', '--histograms', '1', '--debug']) == 0
    panel, histograms, *lines = capsys.readouterr().out.splitlines()
    assert panel.startswith('work_dirs/browse/own/train_') and (tmp_path / panel).is_file()
    assert (tmp_path / histograms).is_file()
    assert [line.split(':')[0] for line in lines] == ['depth', 'depth (transformed)']
    assert main(['own.py', '--split', 'val']) == 2
    assert 'no val_dataloader' in capsys.readouterr().err


def test_plot_curves_draws_and_says_what_it_read(tmp_path, capsys):
    log = tmp_path / 'run_seed0' / 'now' / 'vis_data' / 'scalars.json'
    log.parent.mkdir(parents=True)
    row = {'lr': 0.1, 'loss': 3.0, 'depth.loss': 2.0, 'iter': 7, 'step': 7}
    log.write_text(json.dumps(row) + '\n')
    out = tmp_path / 'out' / 'curves.png'
    main = runpy.run_path(str(TOOLS / 'plot_curves.py'))['main']
    assert main([str(log.parents[2]), '--out', str(out), '--debug']) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f'run: {log.parents[2]}, 7 iterations, tasks depth'
    assert printed[1] == str(out) and out.is_file()
    assert main([str(tmp_path / 'absent'), '--out', str(out)]) == 1
    assert 'no such folder' in capsys.readouterr().err
