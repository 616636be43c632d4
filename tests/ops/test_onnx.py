import importlib.util
import warnings

import pytest
import torch

from mmdense.ops import DeformConv2d, onnx_deform_conv

PACKAGES = {'traced': ('onnx', 'onnxruntime'), 'exported': ('onnx', 'onnxruntime', 'onnxscript')}
EXPORTERS = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            any(importlib.util.find_spec(package) is None for package in packages),
            reason=f'needs {", ".join(packages)}',
        ),
    )
    for name, packages in PACKAGES.items()
]


class Layer(torch.nn.Module):
    def __init__(self, kernel, offset_groups, modulated):
        super().__init__()
        self.conv = DeformConv2d(8, 6, kernel, padding=kernel // 2, stride=2)
        cells = offset_groups * kernel**2
        self.offset = torch.nn.Conv2d(8, 2 * cells, 3, 2, 1)
        self.mask = torch.nn.Conv2d(8, cells, 3, 2, 1) if modulated else None

    def forward(self, x):
        mask = None if self.mask is None else self.mask(x).sigmoid()
        return self.conv(x, 4 * self.offset(x), mask)


@pytest.mark.slow
@pytest.mark.parametrize('modulated', [False, True], ids=['v1', 'v2'])
@pytest.mark.parametrize(('kernel', 'offset_groups'), [(1, 8), (3, 2)])
@pytest.mark.parametrize(('opset', 'node'), [(18, 'GridSample'), (19, 'DeformConv')])
@pytest.mark.parametrize('exporter', EXPORTERS)
def test_model_runs_elsewhere(exporter, opset, node, kernel, offset_groups, modulated, tmp_path):
    import onnx
    import onnxruntime

    layer, x = Layer(kernel, offset_groups, modulated).eval(), torch.randn(2, 8, 7, 9)
    path = tmp_path / 'model.onnx'
    kind = {'dynamo': True, 'verbose': False} if exporter == 'exported' else {'dynamo': False}
    with onnx_deform_conv(opset), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.onnx.export(layer, (x,), path, opset_version=opset, input_names=['x'], **kind)
    model = onnx.load(path)
    onnx.checker.check_model(model)
    assert {'GridSample', 'DeformConv'} & {each.op_type for each in model.graph.node} == {node}
    session = onnxruntime.InferenceSession(path)
    (found,) = session.run(None, {'x': x.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), layer(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('exporter', EXPORTERS)
def test_without_being_asked_the_grid_form_is_exported(exporter, tmp_path):
    import onnx

    layer, path = Layer(1, 8, False).eval(), tmp_path / 'model.onnx'
    kind = {'dynamo': True, 'verbose': False} if exporter == 'exported' else {'dynamo': False}
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.onnx.export(layer, (torch.randn(1, 8, 4, 4),), path, opset_version=20, **kind)
    assert 'GridSample' in {each.op_type for each in onnx.load(path).graph.node}


def test_outside_an_export_values_are_computed():
    layer, x = Layer(1, 8, False), torch.randn(1, 8, 5, 5)
    expected = layer(x)
    with onnx_deform_conv(20):
        torch.testing.assert_close(layer(x), expected)
