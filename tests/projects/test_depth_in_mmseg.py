"""mmdense's depth head inside mmsegmentation."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.structures import PixelData
from mmseg.models import DepthEstimator, EncoderDecoder
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

sys.path.insert(0, str(Path(__file__).parent))
from project_utils import ROOT, batch_norm, readme_holds

from mmdense.datasets.rooms import render_room
from mmdense.structures import DenseFeatures
from mmdense.utils.config_check import check_config

NAME = 'cluster-bin_r50_4xb4-25k_nyu-480x640.py'
PROJECT = ROOT / 'projects' / 'depth_in_mmseg'
SIZE = (64, 96)


@pytest.fixture
def cfg(monkeypatch):
    """The config with a thin model, no weights to download and plain batch norm."""
    monkeypatch.syspath_prepend(str(PROJECT))
    cfg = Config.fromfile(PROJECT / 'configs' / NAME)
    batch_norm(cfg._cfg_dict)
    model = cfg.model
    model.backbone.update(depth=18, stem_channels=8, base_channels=8, init_cfg=None)
    model.neck.update(in_channels=[8, 16, 32, 64], out_channels=16)
    model.data_preprocessor.size = SIZE
    model.decode_head.head.update(in_channels=[16] * 4, num_clusters=4)
    model.decode_head.head.decoder = dict(
        type='KMaXTransformerDecoder',
        layers_per_scale=(1, 1, 1),
        query_dim=16,
        base_filters=8,
        num_heads=2,
        ffn_dim=16,
        predictor_hidden=8,
        embed_dim=8,
    )
    return cfg


def build(cfg):
    """The model, built as mmsegmentation's runner builds it."""
    torch.manual_seed(0)
    return MODELS.build(dict(cfg.model, _scope_='mmseg'))


def batch(count, size=SIZE, low=0.5, high=9.0):
    generator = torch.Generator().manual_seed(0)
    inputs, samples = [], []
    for _ in range(count):
        inputs.append(torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator))
        sample = SegDataSample(metainfo=dict(img_shape=size, ori_shape=size))
        depth = low + (high - low) * torch.rand(1, *size, generator=generator)
        sample.set_data(dict(gt_depth_map=PixelData(data=depth)))
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def test_page_shows_the_config():
    assert readme_holds('depth_in_mmseg', NAME)


def test_config_names_nothing_that_is_not_there(cfg):
    assert not check_config(cfg)


def test_decode_head_gives_the_losses_and_maps_of_the_head(cfg):
    model = build(cfg)
    assert type(model) is DepthEstimator and isinstance(model, EncoderDecoder)
    decode, head = model.decode_head, model.decode_head.head
    maps = tuple(torch.randn(2, 16, SIZE[0] // s, SIZE[1] // s) for s in (4, 8, 16, 32))
    samples = batch(2)['data_samples']
    target = torch.stack([s.gt_depth_map.data for s in samples])
    target[0, 0, :, 80:] = 255  # what mmsegmentation pads with
    samples[0].gt_depth_map.data = target[0]
    model.eval()
    losses = decode.loss(maps, samples)
    known = (target > 1e-3) & (target < 10)
    want = head.loss(
        DenseFeatures(shared=maps, image_size=SIZE), torch.where(known, target, 0), known
    )
    assert list(losses) == list(want) and len(want) == 2 * 4
    for name, value in losses.items():
        assert torch.allclose(value, want[name]), name
    depth = decode.predict(maps, [dict(img_shape=SIZE, pad_shape=SIZE)], None)
    assert depth.shape == (2, 1, *SIZE)
    assert depth.min() >= 1e-3 and depth.max() <= 10
    window = decode.predict(maps, [dict(img_shape=torch.Size((40, 50)), pad_shape=SIZE)], None)
    assert window.shape == (2, 1, 40, 50)


def test_every_parameter_learns_and_results_are_metres_of_the_picture(cfg):
    model = build(cfg).train()
    data = model.data_preprocessor(batch(3, (60, 90)), training=True)
    loss, logged = model.parse_losses(model(**data, mode='loss'))
    loss.backward()
    assert {'decode.loss_silog', 'decode.aux0.loss_silog'} <= set(logged)
    assert not [name for name, p in model.named_parameters() if p.grad is None]
    model.eval()
    with torch.no_grad():
        results = model.test_step(batch(1, (60, 90)))
    depth = results[0].pred_depth_map.data
    assert depth.shape == (1, 60, 90)
    assert depth.min() >= 1e-3 and depth.max() <= 10 and depth.std() > 0


def write_rooms(root, split, count):
    """Rooms in the layout of mmsegmentation's NYUDataset."""
    for folder in ('images', 'annotations'):
        (root / folder / split).mkdir(parents=True)
    for index in range(count):
        room = render_room(0, 'val' if split == 'test' else 'train', index, SIZE)
        name = f'bedroom_{index:04d}'
        cv2.imwrite(str(root / 'images' / split / f'{name}.jpg'), room.image[..., ::-1])
        millimetres = np.rint(room.gt['depth'] * 1000).astype(np.uint16)
        cv2.imwrite(str(root / 'annotations' / split / f'{name}.png'), millimetres)


@pytest.mark.slow
def test_runner_of_mmseg_trains_and_tests_it(cfg, tmp_path):
    write_rooms(tmp_path, 'train', 8)
    write_rooms(tmp_path, 'test', 2)
    options = dict(num_workers=0, persistent_workers=False)
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        cfg[name].update(options)
        cfg[name].dataset.data_root = str(tmp_path)
    for name in ('val_evaluator', 'test_evaluator'):
        cfg[name].crop_type = None  # for pictures of 480x640
    cfg.train_cfg.update(max_iters=30, val_interval=30)
    cfg.param_scheduler = []
    cfg.optim_wrapper.optimizer.lr = 3e-3
    cfg.merge_from_dict(dict(work_dir=str(tmp_path / 'work'), log_level='ERROR'))
    cfg.experiment_name = tmp_path.name
    runner = Runner.from_cfg(cfg)
    before = runner.val()
    runner.train()
    after = runner.val()
    assert after['rmse'] < before['rmse']
    assert (tmp_path / 'work' / 'iter_30.pth').is_file()
