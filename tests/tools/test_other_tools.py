import importlib.util
import json
import math
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def tool(path):
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / 'tools' / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_print_config_prints_saves_and_checks(toy_config, tmp_path, capsys):
    main = tool('misc/print_config.py').main
    assert main([str(toy_config), '--key', 'model', '--cfg-options', 'model.width=7']) == 0
    assert capsys.readouterr().out.strip() == "{'type': 'ToyModel', 'width': 7}"
    out = tmp_path / 'whole.py'
    assert main([str(toy_config), '--save-path', str(out)]) == 0
    assert main([str(out), '--check', '--key', 'randomness']) == 0
    assert main([str(out), '--key', 'modl']) == 2
    assert 'has no entry modl' in capsys.readouterr().err
    assert main([str(out), '--check', '--cfg-options', 'model.type=ToyModl']) == 2
    assert "'ToyModel'" in capsys.readouterr().err


RESULTS = dict(
    checkpoint='iter_9.pth',
    pictures=3,
    metrics={'depth/rmse': 0.5},
    details={
        'depth/rmse': dict(
            value=0.5,
            higher_is_better=False,
            percent=False,
            unit='m',
            protocol='pooled over pixels',
        )
    },
    headlines=dict(depth='depth/rmse'),
)


def test_quickstart_report_puts_the_constant_beside_each_number(tmp_path, capsys):
    (tmp_path / 'test_results.json').write_text(json.dumps(RESULTS))
    (tmp_path / 'constant.json').write_text(json.dumps({'depth/rmse': 1.25}))
    (tmp_path / 'panels').mkdir()
    for name in ('test.png', 'test_depth_bins.png', 'val_iter_9.png'):
        (tmp_path / 'panels' / name).touch()
    assert tool('analysis_tools/quickstart_report.py').main([str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    row = next(line for line in printed.splitlines() if 'rmse' in line)
    assert row.index('0.5000 m') < row.index('1.2500 m')
    assert f'Picture: {tmp_path / "panels" / "test.png"}' in printed


def test_quickstart_report_says_what_is_missing(tmp_path, capsys):
    assert tool('analysis_tools/quickstart_report.py').main([str(tmp_path)]) == 1
    assert 'test_results.json does not exist. Make it with' in capsys.readouterr().err


def test_null_means_no_number():
    read = tool('analysis_tools/quickstart_report.py')._with_nan
    assert math.isnan(read(dict(a=dict(b=None)))['a']['b'])


def test_tables_of_measurements():
    benchmark = tool('analysis_tools/benchmark.py')
    rows = [
        benchmark.Row('inference', 'step', 20.0, 50.0, 123.4),
        benchmark.Row('data', 'loader, 2 workers', note='no such folder'),
    ]
    text = benchmark.table(rows)
    assert '123' in text
    assert 'no such folder' in text
    assert 'bf16' in benchmark.protocol(benchmark.Settings((4, 8), amp=True))
    flops = tool('analysis_tools/get_flops.py')
    text = flops.table([flops.Complexity('backbone', 1_500_000, 2_000_000_000)], (4, 8))
    assert '1.500 M' in text
    assert '2.000 G' in text


def test_doctor_prints_json(capsys, monkeypatch):
    doctor = tool('doctor.py')
    row = doctor.examine.__globals__['Finding']('torch', 'ok', '2.13')
    monkeypatch.setattr(doctor, 'examine', lambda *_: [row])
    assert doctor.main(['--json']) == 0
    assert json.loads(capsys.readouterr().out)[0]['detail'] == '2.13'


@pytest.mark.parametrize('packaging', ['png', 'npy'])
def test_loader_benchmark_writes_a_layout_and_times_every_step(packaging, tmp_path, capsys):
    main = tool('analysis_tools/loader_benchmark.py').main
    root = tmp_path / 'nyud'
    made = ['--layout', 'nyud', '--packaging', packaging, '--size', '45', '60', '--images', '2']
    command = [*made, '--root', str(root), '--pictures', '4', '--batch-size', '2']
    assert main([*command, '--workers', '0', '--json']) == 0
    found = json.loads(capsys.readouterr().out)
    assert [step['step'] for step in found['steps']] == [
        'file', 'decode picture', 'decode semseg', 'decode depth', 'decode normal',
        'decode boundary', 'check', 'TaskAwareRandomScale', 'TaskAwareCrop', 'TaskAwareFlip',
        'PhotoMetricDistortion', 'TaskAwarePad', 'PackDenseInputs', 'other', 'collate',
    ]  # fmt: skip
    assert found['loaders'][0]['images_per_second'] > 0
    picture = next((root / 'images').iterdir())
    written = picture.stat().st_mtime_ns
    assert main([*command, '--pipeline', 'libmtl']) == 2
    assert 'astmt, atrc, invpt' in capsys.readouterr().err
    assert main([*command, '--pipeline', 'astmt']) == 0
    printed = capsys.readouterr().out
    assert 'TaskAwareScaleRotate' in printed and 'pictures/s' in printed
    assert picture.stat().st_mtime_ns == written, 'pictures that are there are kept'


def test_loader_benchmark_takes_a_config_or_a_layout(capsys):
    main = tool('analysis_tools/loader_benchmark.py').main
    assert main([]) == 2
    assert '--layout nyud' in capsys.readouterr().err
