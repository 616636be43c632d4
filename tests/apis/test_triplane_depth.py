"""Rank correlation of expected with true depth: values, padding, the command line."""

import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmdense.apis.model_parts import build_model
from mmdense.apis.triplane_depth import Correlation, depth_correlations, over_seeds, spearman
from mmdense.models.regularizers.functional import RayDetails
from mmdense.models.regularizers.triplane_regularizer import Explanation
from mmdense.structures import DenseDataSample
from mmdense.utils.config_check import ConfigError

TOOL = Path(__file__).parents[2] / 'tools' / 'analysis_tools' / 'triplane_depth.py'
CONFIG = """
default_scope = 'mmdense'
tasks = dict(semseg=dict(type='SemSeg', num_classes=13), depth=dict(type='Depth'))
model = dict(
    type='DensePredictor', tasks=tasks,
    data_preprocessor=dict(type='DenseDataPreprocessor', size_divisor=16, pad_mode='center'),
    backbone=dict(type='mmseg.ResNetV1c', depth=18, base_channels=4, out_indices=(0,),
                  num_stages=1, strides=(1,), dilations=(1,)),
    heads=dict.fromkeys(tasks, dict(type='ConvHead', in_channels=4, channels=4)),
    regularizers=dict(triplane=dict(
        type='TriplaneRegularizer', feature='backbone', in_channels=[4], channels=4, hidden=4,
        mid_channels=4, coarse=4, fine=4, render_stride=4)))
val_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='RoomsDataset', split='val', length=2, size=(24, 36), cache_dir=None,
                 tasks=tasks, test_mode=True, pipeline=[dict(type='PackDenseInputs')]))
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'tiny.py'
    path.write_text(CONFIG)
    return path


def batch_of(model, truths):
    """Pictures of noise with given depths ``(H, W)``."""
    inputs, samples = [], []
    for truth in truths:
        size = truth.shape
        sample = DenseDataSample(metainfo=dict(img_shape=size, ori_shape=size))
        sample.set_gt(model.tasks['depth'], truth[None])
        inputs.append(torch.randint(0, 256, (3, *size), dtype=torch.uint8))
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def valley(size, middle):
    """Rows farther from ``middle`` are farther away, all within the range of the task."""
    row = torch.arange(size[0], dtype=torch.float32)
    return (0.5 + 0.2 * (row - middle).abs())[:, None].expand(size).clone()


def show(branch, monkeypatch, depth):
    """Let a branch see given expected depths ``(B, T, h, w)``."""

    def explain(features, image_size):
        assert image_size == (32, 48)  # as the preprocessor pads 24 x 36
        flat = depth.flatten(2)
        rays = [
            RayDetails(None, None, None, torch.full_like(flat[:, k], 0.25 * (k + 1)), flat[:, k])
            for k in range(depth.shape[1])
        ]
        return Explanation({}, dict(zip(branch.tasks, rays)), None, tuple(depth.shape[-2:]))

    monkeypatch.setattr(branch, 'explain', explain)


def test_coefficients_of_known_depths(config, monkeypatch):
    model = build_model(Config.fromfile(config), 'cpu').eval()
    truth = valley((24, 36), middle=7.0)
    # Row i of the input is row i - 4 of the picture; one ray per pixel, so nothing is blurred.
    padded = valley((32, 48), middle=11.0)
    show(model.train_only_triplane, monkeypatch, torch.stack([padded, -2 * padded])[None])
    found = depth_correlations(model, [batch_of(model, [truth])])
    assert list(found) == ['semseg', 'depth', 'mean', 'row']
    assert found['semseg'].per_picture == pytest.approx(1)
    assert found['semseg'].pooled == pytest.approx(1)
    assert found['depth'].per_picture == found['mean'].per_picture == pytest.approx(-1)
    assert (found['semseg'].opacity, found['depth'].opacity) == pytest.approx((0.25, 0.5))
    assert math.isnan(found['row'].opacity) and math.isnan(found['row'].spread)
    rows = np.repeat(-np.arange(24.0), 36)
    assert found['row'].per_picture == pytest.approx(spearman(rows, truth.flatten().numpy()))
    assert -0.9 < found['row'].per_picture < -0.2


def test_unknown_depths_and_constant_pictures_do_not_count(config, monkeypatch):
    model = build_model(Config.fromfile(config), 'cpu').eval()
    truth = valley((24, 36), middle=7.0)
    padded = valley((32, 48), middle=11.0)
    wrong = padded.clone()
    wrong[4:10] = -5  # where nothing is known
    truth[:6] = 0
    flat = torch.full((24, 36), 0.5)
    show(model.train_only_triplane, monkeypatch, torch.stack([wrong, padded]).expand(3, 2, 32, 48))
    unlabelled = batch_of(model, [truth])
    unlabelled['data_samples'][0] = DenseDataSample(metainfo=dict(img_shape=(24, 36)))
    batch = batch_of(model, [truth, flat])
    for key, value in batch.items():
        value += unlabelled[key]
    found = depth_correlations(model, [batch])
    assert found['semseg'].pictures == 1
    assert found['semseg'].per_picture == pytest.approx(1)
    # Pixels of both pictures together: the flat one's are all as near as the nearest.
    assert 0 < found['depth'].pooled < 0.9


def test_pooling_joins_scales_that_pictures_do_not_share(config, monkeypatch):
    model = build_model(Config.fromfile(config), 'cpu').eval()
    truth, padded = valley((24, 36), 7.0), valley((32, 48), 11.0)
    # The same order within each picture; between the pictures, the opposite of the truth's.
    depth = torch.stack([padded, padded + 100])[:, None].expand(2, 2, 32, 48)
    show(model.train_only_triplane, monkeypatch, depth)
    batch = batch_of(model, [truth + 5, truth])
    found = depth_correlations(model, [batch], pooled_pixels=100)['mean']
    assert found.per_picture == pytest.approx(1) and found.spread == pytest.approx(0, abs=1e-9)
    assert found.pooled < 0


def test_spearman_with_ties_against_mean_ranks():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 5, 40), rng.normal(size=40)
    ranks = [[np.mean(np.flatnonzero(np.sort(x) == v)) for v in x] for x in (a, b)]
    assert spearman(a, b) == pytest.approx(np.corrcoef(*ranks)[0, 1])
    assert math.isnan(spearman(a, np.ones(40))) and math.isnan(spearman(a[:1], b[:1]))


def test_mean_and_spread_over_runs():
    runs = [{'depth': Correlation(v, 0.1, 2 * v, 5, 0.5)} for v in (0.2, 0.4)]
    found = over_seeds(runs)['depth']
    assert found['per_picture'] == pytest.approx([0.3, math.sqrt(0.02)])
    assert found['pooled'][0] == pytest.approx(0.6)
    assert math.isnan(over_seeds(runs[:1])['depth']['pooled'][1])


def test_command_line_over_two_checkpoints(config, tmp_path, capsys):
    spec = importlib.util.spec_from_file_location('triplane_depth_tool', TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    paths = []
    for seed in range(2):
        torch.manual_seed(seed)
        model = build_model(Config.fromfile(config), 'cpu')
        model.init_weights()
        paths.append(str(tmp_path / f'iter_{seed}.pth'))
        torch.save(dict(state_dict=model.state_dict()), paths[-1])
    out = tmp_path / 'found.json'
    command = [str(config), *paths, '--out', str(out), '--device', 'cpu']
    assert tool.main(command) == 0
    printed = capsys.readouterr().out
    assert 'mean of 2' in printed
    found = json.loads(out.read_text())
    assert [r['checkpoint'] for r in found['runs']] == paths
    first, second = (run['maps']['depth']['per_picture'] for run in found['runs'])
    assert -1 <= first <= 1 and first != second
    assert found['over_runs']['depth']['per_picture'][0] == pytest.approx((first + second) / 2)
    # The control knows nothing of the weights.
    rows = [run['maps']['row']['pooled'] for run in found['runs']]
    assert rows[0] == rows[1] != 0
    weights = {k: v for k, v in model.state_dict().items() if 'train_only' not in k}
    torch.save(dict(state_dict=weights), paths[0])
    assert tool.main(command[:2]) == 2
    assert 'a published file is without them' in capsys.readouterr().err


def test_models_without_rays_are_refused(config):
    cfg = Config.fromfile(config)
    cfg.model.pop('regularizers')
    with pytest.raises(ConfigError, match='no triplane regularizer'):
        depth_correlations(build_model(cfg, 'cpu'), [])
    cfg = Config.fromfile(config)
    model = build_model(cfg, 'cpu')
    with pytest.raises(ConfigError, match="Did you mean 'depth'"):
        depth_correlations(model, [], truth='dept')
    with pytest.raises(ConfigError, match="regularizer 'plane'"):
        depth_correlations(model, [], regularizer='plane')
