"""Files of both formats: what they hold, and that they run elsewhere."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conformance_utils import make_model
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmdense.apis.model_parts import deployed
from mmdense.deployment import ExportedModel, ExportSettings, read_record, save, to_program
from mmdense.deployment.exporting import deploy, to_onnx
from mmdense.deployment.inspection import inspect_file, node_list, summary
from mmdense.deployment.method_parity import FREEDOM, measure, passes
from mmdense.deployment.parity import check_export, disturb, shapes_to_check, worst
from mmdense.models.regularizers.train_only import is_train_only
from mmdense.registry import MODELS
from mmdense.utils import ShapeError
from mmdense.utils.config_check import ConfigError

ROOT = Path(__file__).parents[2]
NEEDED = ('onnx', 'onnxruntime', 'onnxscript')
needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in NEEDED), reason='needs onnx'
)
BOTH = ('batch', 'size')


def tool(path):
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / 'tools' / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """One small network in both formats, with a free size."""
    model = make_model('conv baseline').eval()
    disturb(model)
    settings = ExportSettings((64, 96), BOTH)
    program = to_program(model, settings)
    folder = tmp_path_factory.mktemp('exported')
    origin = dict(config='mtl', licence='CC0-1.0', metrics={'depth/rmse': dict(value=0.5)})
    paths = {
        form: save(model, folder / f'm{suffix}', settings, form, origin, program)
        for form, suffix in (('torch', '.pt2'), ('onnx', '.onnx'))
        if form == 'torch' or all(importlib.util.find_spec(name) for name in NEEDED)
    }
    return model, settings, paths


FORMS = ['torch', pytest.param('onnx', marks=needs_onnx)]


@pytest.mark.slow
@pytest.mark.parametrize('form', FORMS)
def test_file_agrees_with_pytorch_on_every_shape(form, files):
    model, settings, paths = files
    shapes = shapes_to_check(settings.shape, settings.dynamic, (32, 0))
    rows = check_export(deploy(model, settings), ExportedModel(paths[form]), shapes)
    assert {row.shape[0] for row in rows} == {1, 3}
    assert worst(rows) <= 1e-3
    assert all(row.spread > 0 for row in rows if row.task != 'semseg')


@pytest.mark.slow
@pytest.mark.parametrize('form', FORMS)
def test_file_says_what_it_is(form, files):
    model, _, paths = files
    record = read_record(paths[form])
    assert record['licence'] == 'CC0-1.0'
    assert record['input']['shape'] == [64, 96]
    assert record['input']['size_rule'] == [32, 0]
    assert record['input']['mean'] == model.data_preprocessor.mean.flatten().tolist()
    assert list(record['tasks']) == list(model.tasks)
    assert record['tasks']['semseg']['classes'] == list(model.tasks['semseg'].classes)
    assert record['tasks']['depth']['unit'] == 'm'
    assert record['tasks']['normal']['kind'] == 'direction'
    found = inspect_file(paths[form])
    assert found['graph']['nodes'] == sum(found['graph']['operators'].values())
    assert list(found['graph']['inputs']) == ['image']
    text = summary(paths[form])
    assert 'unit vector' in text and 'depth/rmse' in text and found['sha256'] in text


@pytest.mark.slow
@pytest.mark.parametrize('form', FORMS)
def test_shapes_that_were_not_asked_for_are_refused(form, files):
    run = ExportedModel(files[2][form])
    with pytest.raises(ShapeError, match=r'\(1, 3, 50, 96\), the network takes \(B, 3, H, W\) wi'):
        run(np.zeros((1, 3, 50, 96)))


@pytest.mark.slow
@needs_onnx
def test_inputs_and_outputs_have_names_people_know(files):
    graph = inspect_file(files[2]['onnx'])['graph']
    assert graph['inputs'] == {'image': 'float (batch, 3, H, W)'}
    assert list(graph['outputs']) == list(files[0].tasks)
    assert graph['outputs']['semseg'].startswith('uint8 (batch, 1, ')


@pytest.mark.slow
@needs_onnx
def test_runner_needs_neither_pytorch_nor_mmdense(files, tmp_path):
    """On a picture that follows no rule of sizes; the numbers are those of PyTorch."""
    from PIL import Image

    model, _, paths = files
    picture = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / 'photo.png')
    (tmp_path / 'broken.jpg').write_bytes(b'no picture')
    for name in ('torch', 'mmdense', 'mmcv', 'mmengine', 'onnx'):
        (tmp_path / 'poison' / name).mkdir(parents=True)
        (tmp_path / 'poison' / name / '__init__.py').write_text('raise ImportError("absent")')
    command = [sys.executable, str(ROOT / 'tools/deployment/run_onnx.py'), str(paths['onnx'])]
    pictures = [str(tmp_path / 'broken.jpg'), str(tmp_path / 'photo.png')]
    done = subprocess.run(
        [*command, *pictures, '--out-dir', str(tmp_path / 'maps')],
        env={**os.environ, 'PYTHONPATH': str(tmp_path / 'poison')},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert 'skipped' in done.stderr and 'broken.jpg' in done.stderr
    # The network of free size gets the picture padded, as the model's preprocessor does.
    image = torch.from_numpy(picture.transpose(2, 0, 1).astype(np.float32))[None]
    with torch.no_grad():
        expected = deploy(model, ExportSettings((70, 90)))(image)
    maps = np.load(tmp_path / 'maps' / 'photo.npz')
    assert json.loads(str(maps['mmdense']))['licence'] == 'CC0-1.0'
    for key, value in expected.items():
        found = torch.from_numpy(maps[key]).reshape(70, 90, -1).permute(2, 0, 1)
        if key == 'semseg':
            assert (found == value[0]).float().mean() > 0.999
        else:
            torch.testing.assert_close(found, value[0], atol=1e-3, rtol=1e-3)
        assert Image.open(tmp_path / 'maps' / f'photo_{key}.png').size == (90, 70)


@pytest.mark.slow
@needs_onnx
def test_command_exports_and_compares(tmp_path, capsys):
    main = tool('deployment/export.py').main
    config = 'mtl_r18-thin_1xb8-600_rooms-96x128_3task'
    out = tmp_path / 'm.onnx'
    options = ['--shape', '64', '64', '--dynamic', 'none', '--output', 'logits']
    assert main([config, '--out', str(out), *options]) == 0
    printed = capsys.readouterr().out
    assert 'largest relative difference' in printed and ': equal' in printed
    assert '1x13x64x64' in printed
    assert main([config, '--out', str(out), *options, '--tolerance', '-1']) == 1
    assert 'differs from PyTorch' in capsys.readouterr().err
    assert tool('deployment/inspect_model.py').main([str(out), '--json']) == 0
    assert json.loads(capsys.readouterr().out)['record']['config'] == config


@pytest.mark.slow
@needs_onnx
def test_a_regularizer_leaves_nothing_in_the_graph():
    """Keys, nodes in order and shapes of the weights are those of the plain model."""
    init_default_scope('mmdense')
    path = ROOT / 'configs/triplane/triplane_r18-thin_1xb8-800_rooms-96x128.py'
    cfg = Config.fromfile(path)
    torch.manual_seed(0)
    trained, plain = MODELS.build(cfg.model).eval(), MODELS.build(deployed(cfg).model).eval()
    assert any(is_train_only(key) for key in trained.state_dict())
    # In logits: decoding is not what a regularizer could touch.
    settings = ExportSettings((64, 64), (), 'logits')
    programs = [to_program(model, settings) for model in (trained, plain)]
    assert list(programs[0].state_dict) == list(programs[1].state_dict)
    graphs = [to_onnx(m, settings, program) for m, program in zip((trained, plain), programs)]
    assert node_list(graphs[0]) == node_list(graphs[1])
    assert len(node_list(graphs[0])) > 20
    names = [[item.name for item in graph.graph.initializer] for graph in graphs]
    assert names[0] == names[1]


@pytest.mark.slow
@needs_onnx
def test_deformable_convolutions_as_nodes():
    model = make_model('demt').eval()
    settings = ExportSettings((32, 32), (), 'logits', deform_conv=True)
    kinds = {kind for kind, _ in node_list(to_onnx(model, settings))}
    assert 'DeformConv' in kinds and 'GridSample' not in kinds


#: Cores that differ; the tool compares all methods.
CORES = {
    'polymax': 'polymax_convnext-atto_1xb8-quickstart_rooms-96x128',
    'ctal': 'ctal-ss_r18-thin_1xb8-600_rooms-96x128',
    'invpt': 'invpt_vit-tiny_1xb8-600_rooms-96x128',
}


@pytest.mark.slow
@needs_onnx
@pytest.mark.parametrize('name', CORES)
def test_methods_agree_in_both_formats(name):
    # With a free size tracing takes minutes.
    row = measure(CORES[name], freedom=FREEDOM[1:])
    assert passes(row), row


def test_wrong_use_is_explained(tmp_path, capsys):
    with pytest.raises(ValueError, match="Did you mean 'batch'"):
        ExportSettings((64, 64), ('bach',))
    with pytest.raises(ConfigError, match='unknown kind of file'):
        read_record(tmp_path / 'x.onx')
    with pytest.raises(ConfigError, match='does not exist'):
        read_record(tmp_path / 'x.onnx')
    torch.save(dict(state_dict={}), tmp_path / 'x.pth')
    with pytest.raises(ConfigError, match='says nothing about itself'):
        read_record(tmp_path / 'x.pth')
    main = tool('deployment/export.py').main
    assert main(['mtl_r18-thin_1xb8-600_rooms-96x128', '--out', 'x.trt']) == 2
    assert 'end it with .onnx or .pt2' in capsys.readouterr().err


def test_runner_resizes_as_documented():
    """Bilinear with pixel centres at halves, as PyTorch; labels by the nearest pixel."""
    resize = tool('deployment/run_onnx.py').resize
    values = np.random.default_rng(0).normal(size=(5, 7, 2)).astype(np.float32)
    for size in ((9, 4), (5, 7), (1, 1)):
        expected = torch.nn.functional.interpolate(
            torch.from_numpy(values).permute(2, 0, 1)[None], size, mode='bilinear'
        )
        found = torch.from_numpy(resize(values, size)).permute(2, 0, 1)[None]
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
        nearest = torch.nn.functional.interpolate(
            torch.from_numpy(values).permute(2, 0, 1)[None], size, mode='nearest'
        )
        found = torch.from_numpy(resize(values, size, nearest=True)).permute(2, 0, 1)[None]
        assert torch.equal(found, nearest)
