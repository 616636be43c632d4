"""What the regularizer adds to its hosts, and that it adds nothing at inference."""

from functools import cache
from pathlib import Path

import pytest
import torch
from config_files import load_file
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mmdense.apis.cost_ratio import give_full_weight
from mmdense.apis.model_parts import deployed
from mmdense.models.regularizers.second_view import find_pairs
from mmdense.models.regularizers.train_only import is_train_only
from mmdense.registry import MODELS

ROOT = Path(__file__).parents[1] / 'configs' / 'triplane'
# Encoder and MLPs; the tasks differ in the channels of their last layers.
ADDED = {
    'invpt-triplane_vit-l_3xb2-40k_nyud-448x576': (4096, 45, 4),
    'invpt-triplane_vit-b_3xb2-40k_nyud-448x576': (3072, 45, 4),
    'mti-net-triplane_hrnet48_1xb8-40k_nyud-448x576': (720, 45, 4),
    'invpt-triplane_vit-l_3xb2-40k_pascal-512x512': (4096, None, 5),
}


@cache
def parameters(name):
    init_default_scope('mmdense')
    with torch.device('meta'):
        model = MODELS.build(load_file(ROOT / f'{name}.py').model)
    counts = {n: p.numel() for n, p in model.named_parameters()}
    own = sum(v for n, v in counts.items() if is_train_only(n))
    return own, sum(counts.values()) - own, sum(t.num_channels for t in model.tasks.values())


@pytest.mark.parametrize('name', ADDED)
def test_parameters_that_are_added(name):
    channels, outputs, tasks = ADDED[name]
    own, _, found = parameters(name)
    outputs = outputs or found
    assert outputs == found
    encoder = 9 * 64 * channels + 2 * 64 + 9 * 64 * 192 + 2 * 192
    mlps = tasks * (64 * 64 + 64 + 64 + 1) + outputs * (64 + 1)
    assert own == encoder + mlps


def test_published_shares():
    """1.006 of InvPT with ViT-L and 1.003 of MTI-Net with HRNet-48, as counted by definition."""
    own, host, _ = parameters('invpt-triplane_vit-l_3xb2-40k_nyud-448x576')
    assert own == pytest.approx(2.49e6, rel=2e-3)
    assert 1 + own / host == pytest.approx(1.006, abs=5e-4)
    own, host, _ = parameters('mti-net-triplane_hrnet48_1xb8-40k_nyud-448x576')
    assert own == pytest.approx(0.55e6, rel=1e-2)
    assert 1 + own / host < 1.005


@pytest.mark.parametrize('path', sorted(ROOT.glob('*triplane*.py')), ids=lambda p: p.stem)
def test_the_deployed_network_is_the_host(path):
    init_default_scope('mmdense')
    cfg = load_file(path)
    with torch.device('meta'):
        trained, plain = MODELS.build(cfg.model), MODELS.build(deployed(cfg).model)
    state = {k: v.shape for k, v in trained.state_dict().items() if not is_train_only(k)}
    assert state == {k: v.shape for k, v in plain.state_dict().items()}
    assert len(trained.state_dict()) > len(state)
    for name, branch in trained.named_children():
        if is_train_only(name):
            assert branch.in_channels == tuple(trained.backbone.channels)


def twin(path):
    """The config of the same training without a regularizer."""
    if path.stem.startswith('triplane_'):
        stem = path.stem.removeprefix('triplane_')
        for word in ('aux-heads', 'pixel-aligned', 'two-views', 'wo-depth-axis'):
            stem = stem.removesuffix(f'_{word}')
        return ROOT / f'mtl_{stem}.py'
    name = path.name.replace('-triplane', '')
    return ROOT / name if (ROOT / name).exists() else ROOT.parent / 'invpt' / name


@pytest.mark.slow
@pytest.mark.parametrize('path', sorted(ROOT.glob('*triplane*.py')), ids=lambda p: p.stem)
def test_every_config_has_a_twin_that_differs_in_the_regularizer_alone(path):
    own, plain = (load_file(p).to_dict() for p in (path, twin(path)))
    assert own['model'].pop('regularizers')
    own.pop('custom_hooks', None)  # pictures of the branch
    if 'two-views' in path.stem:  # a loader of pairs, on the same pictures and more
        for cfg in (own, plain):
            loader = cfg.pop('train_dataloader')
            assert loader['batch_size'] == 8
    assert own == plain


@pytest.mark.slow
def test_pairs_of_views_meet_in_a_batch():
    """From the config's loader to the loss of the other view."""
    cfg = load_file(ROOT / 'triplane_r18-thin_1xb8-800_rooms-96x128_two-views.py')
    init_default_scope('mmdense')
    loader = cfg.train_dataloader
    loader.update(num_workers=0, persistent_workers=False, batch_size=4)
    loader.dataset.update(length=3, size=(32, 48), cache_dir=None)
    batch = next(iter(Runner.build_dataloader(loader, seed=0)))
    pairs = find_pairs(batch['data_samples'])
    assert sorted(pairs) == [(0, 1), (1, 0), (2, 3), (3, 2)]
    cfg.model.update(init_cfg=None)
    cfg.model.backbone.init_cfg = None
    model = MODELS.build(cfg.model).train()
    give_full_weight(model)
    losses = model(**model.data_preprocessor(batch, True), mode='loss')
    assert losses['triplane.loss_semseg_view2'] > 0
    assert 'triplane.loss_depth_view2' not in losses
