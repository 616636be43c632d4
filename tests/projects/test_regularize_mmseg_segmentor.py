import sys
import warnings
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.structures import PixelData

sys.path.insert(0, str(Path(__file__).parent))
from mmseg.models import EncoderDecoder
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from project_utils import ROOT, batch_norm, readme_holds, train

from mmdense.apis.publish import publish

NAME = 'fcn_r18-triplane_4xb2-80k_cityscapes-512x1024.py'
CONFIG = ROOT / 'projects/regularize_mmseg_segmentor/configs' / NAME
BRANCH = 'train_only_triplane'
SIZE = (32, 64)


def make_small(model):
    """A thinner network, and no weights to download."""
    model.backbone.update(init_cfg=None, base_channels=8)
    model.data_preprocessor.size = SIZE
    for head, width in ((model.decode_head, 64), (model.auxiliary_head, 32)):
        head.update(in_channels=width, channels=8)


def samples():
    generator = torch.Generator().manual_seed(0)
    found = []
    for index in range(4):
        image = torch.randint(0, 256, (3, *SIZE), dtype=torch.uint8, generator=generator)
        labels = torch.randint(0, 19, (1, *SIZE), generator=generator)
        labels[:, :4] = 255
        meta = dict(img_shape=SIZE, ori_shape=SIZE, img_path=f'{index}.png')
        sample = SegDataSample(metainfo=meta)
        sample.gt_sem_seg = PixelData(data=labels)
        found.append(dict(inputs=image, data_samples=sample))
    return found


def plain_segmentor():
    """What mmsegmentation builds from the config."""
    cfg = Config.fromfile(CONFIG)
    batch_norm(cfg._cfg_dict)
    make_small(cfg.model)
    return MODELS.build(dict(cfg.model, _scope_=MODELS.scope)).eval()


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A runner after six steps, and where its checkpoint is."""
    folder = tmp_path_factory.mktemp('segmentor')
    optimizer = dict(type='SGD', lr=1e-2, momentum=0.9)
    changes = dict(
        optim_wrapper=dict(optimizer=optimizer),
        default_hooks=dict(logger=dict(type='LoggerHook', interval=1)),
    )
    return train(CONFIG, MODELS, folder, samples(), make_small, **changes), folder


def test_page_shows_the_config():
    assert readme_holds('regularize_mmseg_segmentor', NAME)


@pytest.mark.slow
def test_the_branch_trains_with_the_segmentor(trained):
    runner, _ = trained
    assert type(runner.model) is EncoderDecoder
    branch = runner.model.get_submodule(BRANCH)
    assert branch.in_channels == (8, 16, 32, 64)
    logged = {
        name: runner.message_hub.get_scalar(f'train/{name}')._log_history.tolist()
        for name in ('triplane.alpha', 'triplane.raw_semseg', 'triplane.loss_semseg', 'loss',
                     'decode.loss_ce', 'aux.loss_ce')
    }  # fmt: skip
    # Six steps, half of them the ramp.
    alphas = [0, 4 / 3, 8 / 3, 4, 4, 4]
    assert logged['triplane.alpha'] == pytest.approx(alphas)
    raw = logged['triplane.raw_semseg']
    assert logged['triplane.loss_semseg'] == pytest.approx(
        [a * r for a, r in zip(alphas, raw)], rel=1e-5
    )
    parts = zip(logged['decode.loss_ce'], logged['aux.loss_ce'], logged['triplane.loss_semseg'])
    assert logged['loss'] == pytest.approx([sum(three) for three in parts], rel=1e-5)
    state = runner.optim_wrapper.optimizer.state
    for name, parameter in runner.model.named_parameters():
        assert state[parameter]['momentum_buffer'].any(), name


@pytest.mark.slow
def test_what_is_given_away_is_the_segmentor(trained, tmp_path):
    runner, folder = trained
    stored = torch.load(folder / 'epoch_3.pth', weights_only=False)
    assert any(key.startswith(BRANCH) for key in stored['state_dict'])
    published = publish(str(folder / 'epoch_3.pth'), str(tmp_path / 'fcn'))
    plain = plain_segmentor()
    plain.load_state_dict(torch.load(published, weights_only=False)['state_dict'], strict=True)
    regularized = runner.model.eval()
    inputs = torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        a, b = (model(inputs, mode='tensor') for model in (regularized, plain))
    assert torch.equal(a, b)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        graphs = [
            torch.export.export(model, (inputs,), dict(mode='tensor')).graph
            for model in (regularized, plain)
        ]
    nodes = [[(node.op, str(node.target)) for node in graph.nodes if node.op == 'call_function']
             for graph in graphs]  # fmt: skip
    assert nodes[0] == nodes[1] and len(nodes[0]) > 20
