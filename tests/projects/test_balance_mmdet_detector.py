import sys
from pathlib import Path

import pytest
import torch
from mmengine.structures import InstanceData

sys.path.insert(0, str(Path(__file__).parent))
from project_utils import ROOT, readme_holds, train

NAME = 'retinanet_r18-lps_fpn_1x_coco.py'
CONFIG = ROOT / 'projects/balance_mmdet_detector/configs' / NAME


def make_small(model):
    """A thinner neck and head, and no weights to download."""
    model.backbone.init_cfg = None
    model.neck.out_channels = 32
    model.bbox_head.update(in_channels=32, feat_channels=32, stacked_convs=1)


def samples():
    """Pictures with two boxes each; every other one has none."""
    from mmdet.structures import DetDataSample

    generator = torch.Generator().manual_seed(0)
    found = []
    for index in range(4):
        image = torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8, generator=generator)
        boxes = torch.tensor([[5.0, 5, 40, 40], [30, 10, 90, 60]])[: 2 * (index % 2 == 0)]
        sample = DetDataSample(
            metainfo=dict(img_shape=(64, 96), ori_shape=(64, 96), scale_factor=(1.0, 1.0))
        )
        labels = torch.tensor([3, 7])[: len(boxes)]
        sample.gt_instances = InstanceData(bboxes=boxes, labels=labels)
        found.append(dict(inputs=image, data_samples=sample))
    return found


@pytest.fixture
def mmdet():
    """The registry of mmdetection, whose models import compiled ops."""
    try:
        import mmdet.models
        from mmdet.registry import MODELS
    except (ImportError, AttributeError) as error:
        pytest.skip(f'mmdet does not load here: {error}')
    assert mmdet.models
    return MODELS


def test_page_shows_the_config():
    assert readme_holds('balance_mmdet_detector', NAME)


@pytest.mark.ops
@pytest.mark.slow
def test_detector_trains_with_prioritized_losses(tmp_path, mmdet):
    runner = train(CONFIG, mmdet, tmp_path / 'a', samples(), make_small)
    balancer = runner.model.loss_balancer
    assert balancer.tasks == ('cls', 'box')
    assert balancer.epochs.closed == 3
    assert balancer.epochs.history.isfinite().all()
    assert not torch.equal(balancer.weights, torch.ones(2, dtype=torch.float64))
    saved = torch.load(tmp_path / 'a/epoch_3.pth', weights_only=False)['state_dict']
    assert torch.equal(saved['loss_balancer.weights'], balancer.weights)
    assert 'train/cls.weight' in runner.message_hub.log_scalars


@pytest.mark.ops
@pytest.mark.slow
def test_detector_trains_with_combined_gradients(tmp_path, mmdet):
    wrapper = dict(
        type='mmdense.JacobianOptimWrapper',
        aggregator=dict(type='GradNorm'),
        shared=[r'^backbone\.', r'^neck\.'],
        optimizer=dict(type='SGD', lr=1e-3),
    )

    runner = train(CONFIG, mmdet, tmp_path / 'b', samples(), make_small, optim_wrapper=wrapper)
    assert all(p.isfinite().all() for p in runner.model.parameters())
    assert 'train/box.gradient_weight' in runner.message_hub.log_scalars
