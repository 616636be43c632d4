import sys
from pathlib import Path

import pytest
import torch
from mmengine.structures import PixelData

sys.path.insert(0, str(Path(__file__).parent))
from mmseg.models import EncoderDecoder
from mmseg.registry import MODELS
from project_utils import ROOT, readme_holds, train

NAME = 'fcn_r18-uncertainty_4xb2-80k_cityscapes-512x1024.py'
CONFIG = ROOT / 'projects/balance_mmseg_auxiliary/configs' / NAME


def make_small(model):
    """Thinner heads, and no weights to download."""
    model.backbone.init_cfg = None
    model.data_preprocessor.size = (64, 96)
    for head in (model.decode_head, model.auxiliary_head):
        head.channels = 16


def samples():
    from mmseg.structures import SegDataSample

    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(4):
        image = torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8, generator=generator)
        labels = torch.randint(0, 19, (1, 64, 96), generator=generator)
        sample = SegDataSample(metainfo=dict(img_shape=(64, 96), ori_shape=(64, 96)))
        sample.gt_sem_seg = PixelData(data=labels)
        found.append(dict(inputs=image, data_samples=sample))
    return found


def test_page_shows_the_config():
    assert readme_holds('balance_mmseg_auxiliary', NAME)


@pytest.mark.slow
def test_segmentor_trains_with_learned_weights_of_its_heads(tmp_path):
    runner = train(CONFIG, MODELS, tmp_path, samples(), make_small)
    assert isinstance(runner.model, EncoderDecoder)
    balancer = runner.model.loss_balancer
    assert balancer.tasks == ('decode', 'aux')
    assert balancer.log_variance.abs().min() > 0
    groups = runner.optim_wrapper.optimizer.param_groups
    assert [g['weight_decay'] for g in groups] == [1e-2, 0.0]
    saved = torch.load(tmp_path / 'epoch_3.pth', weights_only=False)['state_dict']
    assert torch.equal(saved['loss_balancer.log_variance'], balancer.log_variance)
    logged = runner.message_hub.log_scalars
    for name in ('decode.weight', 'aux.loss_ce', 'decode.acc_seg'):
        assert f'train/{name}' in logged
