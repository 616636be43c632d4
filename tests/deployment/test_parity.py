import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mmdense.deployment.method_parity import BEGIN, END, METHODS, markdown, passes, write_page
from mmdense.deployment.parity import check_export, compare, disturb, shapes_to_check, worst
from mmdense.utils.config_names import known_configs

ROOT = Path(__file__).parents[2]


def test_difference_is_relative_to_the_largest_value():
    expected = {'depth': torch.tensor([[[[1.0, -4.0]]]])}
    (row,) = compare(expected, {'depth': np.array([[[[1.5, -4.0]]]], np.float32)})
    assert (row.relative, row.absolute, row.spread) == (0.125, 0.5, 2.5)


def test_labels_count_pixels_that_differ():
    expected = {'semseg': torch.tensor([[[[3, 5, 5, 5]]]], dtype=torch.uint8)}
    (row,) = compare(expected, {'semseg': np.array([[[[3, 5, 5, 0]]]], np.uint8)})
    assert row.relative == row.absolute == 0.25


def test_nan_is_never_equal():
    expected = {'depth': torch.ones(1, 1, 1, 2)}
    rows = compare(expected, {'depth': np.array([[[[1.0, np.nan]]]], np.float32)})
    assert np.isnan(worst(rows))
    bad = dict(onnx=dict(relative=None), torch=dict(relative=0.0), spread=1.0)
    assert not passes(bad)


def test_missing_tasks_and_other_shapes_are_errors():
    expected = {'depth': torch.ones(1, 1, 1, 2)}
    with pytest.raises(ValueError, match='the export gives'):
        compare(expected, {'normal': np.ones((1, 1, 1, 2))})
    with pytest.raises(ValueError, match=r"'depth' is \(1, 1, 2, 2\) from the export"):
        compare(expected, {'depth': np.ones((1, 1, 2, 2))})


def test_every_shape_that_is_claimed_is_tried():
    assert shapes_to_check((64, 96), (), (32, 0)) == [(1, (64, 96))]
    shapes = shapes_to_check((64, 96), ('batch', 'size'), (32, 0))
    assert {batch for batch, _ in shapes} == {1, 3}
    assert {size for _, size in shapes} == {(64, 96), (96, 96), (64, 160)}

    class Doubled(torch.nn.Module):
        def forward(self, image):
            return {'depth': 2 * image[:, :1]}

    def wrong_for_large(images):
        return {'depth': 2 * images[:, :1] + (images.shape[-1] > 96)}

    rows = check_export(Doubled(), wrong_for_large, shapes)
    assert [row.relative > 1e-3 for row in rows] == [False, False, False, True]


def test_disturbing_wakes_silent_parts():
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1), torch.nn.BatchNorm2d(2))
    for parameter in module.parameters():
        torch.nn.init.zeros_(parameter)
    twin = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1), torch.nn.BatchNorm2d(2))
    twin.load_state_dict(module.state_dict())
    disturb(module)
    disturb(twin)
    assert all(parameter.abs().min() > 0 for parameter in module.parameters())
    assert module[1].running_mean.abs().min() > 0
    assert (module[1].running_var > 0).all()
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), twin.parameters()))


def test_every_method_of_the_library_is_compared():
    known = known_configs()
    assert set(METHODS.values()) <= set(known)
    folders = {known[name].parent.name for name in METHODS.values()}
    published = {path.parent.name for path in (ROOT / 'configs').glob('*/metafile.yml')}
    # That one brings data, no method.
    assert folders == published - {'folder'}


ROW = dict(
    config='x',
    size_tried=True,
    dynamic=['batch'],
    refused={'batch+size': 'no.'},
    onnx=dict(relative=2e-6, nodes=7),
    torch=dict(relative=0.0, nodes=9),
    spread=0.1,
)


def test_page_holds_the_table_and_the_reasons(tmp_path):
    page = tmp_path / 'page.md'
    page.write_text(f'before\n{BEGIN}\nold\n{END}\nafter\n')
    write_page(page, {'DeMT': ROW, 'ATRC': dict(config='y', error='needs a GPU.')})
    text = page.read_text()
    assert text.startswith('before') and text.endswith('after\n') and 'old' not in text
    assert '| DeMT | batch | 2.0e-06 | 7 | 0.0e+00 |' in text
    assert 'Not compared yet: PolyMaX' in text
    assert '* DeMT: no.' in text and '* ATRC: needs a GPU.' in text
    with pytest.raises(ValueError, match='lacks the lines'):
        write_page(page.with_name('page.md'), {}) if page.write_text('x') else None


def test_constants_and_differences_do_not_pass():
    assert passes(ROW)
    assert not passes({**ROW, 'spread': 0.0})
    assert not passes({**ROW, 'torch': dict(relative=2e-3)})
    assert not passes(dict(error='no'))
    assert 'not exported' in markdown({'DeMT': json.loads('{"error": "no"}')})
