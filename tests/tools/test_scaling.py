import importlib.util
from pathlib import Path

import pytest

from mmdense.apis.benchmark import Row

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def tool():
    path = ROOT / 'tools/analysis_tools/scaling.py'
    spec = importlib.util.spec_from_file_location('scaling', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize('power', [1.0, 1.5, 2.0])
def test_slope_is_the_exponent(tool, power):
    shapes = [(10, 20), (20, 20), (30, 40)]
    rows = [Row('training', 'step', 3 * (h * w) ** power) for h, w in shapes]
    assert tool.slope(shapes, rows) == pytest.approx(power)


def test_every_value_and_size_is_measured(tool, capsys, monkeypatch):
    asked = []

    def measure(cfg, settings):
        asked.append((cfg.model.neck.kv_stride, settings.shape, settings.train))
        assert cfg.model.backbone.init_cfg is None
        return Row('training', 'step', float(settings.shape[0] * settings.shape[1]))

    monkeypatch.setattr(tool, 'measure_step', measure)
    config = str(ROOT / 'configs/demt/demt_swin-t_8xb1-40k_nyud-425x560.py')
    shapes = ['--shape', '64', '96', '--shape', '96', '128']
    assert (
        tool.main([config, *shapes, '--option', 'model.neck.kv_stride', '--values', '4', '8']) == 0
    )
    assert asked == [(k, shape, True) for k in (4, 8) for shape in ((64, 96), (96, 128))]
    printed = capsys.readouterr().out
    assert printed.count('slope in pixels | 1.00') == 2 and 'model.neck.kv_stride=8' in printed


def test_a_step_is_really_timed(tool, capsys):
    config = str(ROOT / 'configs/demt/demt_r18-thin_1xb8-600_rooms-96x128.py')
    options = ['--shape', '32', '64', '--steps', '1', '--warmup', '0', '--no-memory']
    assert tool.main([config, *options]) == 0
    assert '32 x 64' in capsys.readouterr().out
