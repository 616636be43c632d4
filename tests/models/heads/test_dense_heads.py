"""Convolutional and DeepLabv3+ heads, and what all heads share."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mmdense.models  # noqa: F401  (fills the registry)
from mmdense.models.heads import BaseDenseHead, ConvHead, DeepLabV3PlusHead
from mmdense.models.losses import DenseLoss
from mmdense.registry import MODELS
from mmdense.structures import DenseFeatures
from mmdense.tasks import build_tasks
from mmdense.utils import ShapeError

TASKS = build_tasks(
    dict(
        semseg=dict(type='SemSeg', num_classes=5),
        depth=dict(type='Depth'),
        normal=dict(type='Normal'),
        boundary=dict(type='Boundary'),
        saliency=dict(type='Saliency'),
        part=dict(type='Part'),
    )
)
CHANNELS = (8, 12, 16, 20)
EVERY_HEAD = [
    dict(type='ConvHead', in_channels=8, channels=8),
    dict(type='ConvHead', in_channels=CHANNELS, in_index='all', channels=8, num_convs=2),
    dict(type='DeepLabV3PlusHead', in_channels=(8, 20), channels=16, low_channels=6),
    dict(type='ResidualHead', in_channels=8),
    dict(type='HRHead', in_channels=CHANNELS),
    dict(type='ASPPHead', in_channels=12, in_index=1, channels=8),
]


def features(images=2, size=(32, 48), channels=CHANNELS):
    torch.manual_seed(0)
    odd = size[1] % 2
    maps = tuple(
        torch.randn(images, c, *((n - odd) // s + odd for n in size))
        for c, s in zip(channels, (4, 8, 16, 32))
    )
    return DenseFeatures(shared=maps, backbone=maps, image_size=size)


def ground_truth(task, images=2, size=(32, 48)):
    """Random ground truth with some unknown pixels, and its valid mask."""
    rng = torch.Generator().manual_seed(1)
    unknown = torch.rand(images, 1, *size, generator=rng) < 0.2
    if task.gt_channels == 3:
        target = F.normalize(torch.randn(images, 3, *size, generator=rng), dim=1)
    elif task.key == 'depth':
        target = 0.5 + 8 * torch.rand(images, 1, *size, generator=rng)
    else:
        top = max(2, task.num_channels)
        target = torch.randint(0, top, (images, 1, *size), generator=rng).to(torch.uint8)
    target = torch.where(unknown, torch.tensor(task.ignore_value).to(target.dtype), target)
    return target, task.valid_mask(target)


@pytest.mark.parametrize('cfg', EVERY_HEAD, ids=lambda cfg: f'{cfg["type"]}-{cfg["in_channels"]}')
def test_constructors_leave_heads_initialised(cfg):
    """What a runner calls before training draws nothing again."""
    head = MODELS.build(cfg, default_args=dict(task=TASKS['depth']))
    weights = {name: value.clone() for name, value in head.state_dict().items()}
    random_state = torch.get_rng_state()
    head.init_weights()
    assert all(torch.equal(value, weights[name]) for name, value in head.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random_state)


@pytest.mark.parametrize('key', TASKS)
@pytest.mark.parametrize('cfg', EVERY_HEAD, ids=lambda cfg: f'{cfg["type"]}-{cfg["in_channels"]}')
@pytest.mark.parametrize('size', [(32, 48), (33, 49)])
def test_loss_and_prediction_of_every_task(key, cfg, size):
    task = TASKS[key]
    head = MODELS.build(cfg, default_args=dict(task=task))
    feats = features(size=size)
    losses = head.loss(feats, *ground_truth(task, size=size))
    assert len(losses) == 1 and all(name.startswith('loss_') for name in losses)
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())
    pred = head.eval().predict(feats, size)
    assert pred.shape == (2, task.num_channels, *size)
    if key == 'normal':
        assert torch.allclose(pred.norm(dim=1), torch.ones(2, *size), atol=1e-5)
    if key == 'depth':
        assert (pred > 0).all()
    assert head.explain(feats) == {}


@pytest.mark.parametrize('cfg', EVERY_HEAD, ids=lambda cfg: f'{cfg["type"]}-{cfg["in_channels"]}')
def test_one_picture_trains(cfg):
    task = TASKS['depth']
    head = MODELS.build(cfg, default_args=dict(task=task)).train()
    size = (64, 96)
    losses = head.loss(features(1, size), *ground_truth(task, 1, size))
    assert all(value.isfinite() for value in losses.values())


@pytest.mark.parametrize('cfg', EVERY_HEAD, ids=lambda cfg: f'{cfg["type"]}-{cfg["in_channels"]}')
def test_half_precision_stays_close(cfg):
    task = TASKS['normal']
    head = MODELS.build(cfg, default_args=dict(task=task)).eval()
    feats, (target, mask) = features(), ground_truth(task)
    full = head.loss(feats, target, mask)['loss_masked_l1']
    with torch.autocast('cpu', dtype=torch.bfloat16):
        half = head.loss(feats, target, mask)['loss_masked_l1']
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(full.item(), rel=0.03)


# -- what all heads share ----------------------------------------------------------


@MODELS.register_module(name='TestIdentityHead', force=True)
class IdentityHead(BaseDenseHead):
    """Gives a map back, times a parameter."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, feats):
        return self.scale * self.select(feats)[0]


@MODELS.register_module(name='TestFinalOnlyLoss', force=True)
class FinalOnlyLoss(DenseLoss):
    final_only = True

    def compute(self, pred, target, valid_mask):
        return pred.mean()


def identity_head(key='depth', **kwargs):
    task = TASKS[key]
    cfg = dict(type='TestIdentityHead', in_channels=task.num_channels, **kwargs)
    return MODELS.build(cfg, default_args=dict(task=task))


def test_names_of_losses():
    head = identity_head(
        losses=[
            dict(type='SILogLoss'),
            dict(type='RelativeSquaredErrorLoss'),
            dict(type='MultiScaleGradientLoss'),
            dict(type='MaskedL1Loss'),
            dict(type='MaskedL1Loss', loss_weight=2),
            dict(type='CharbonnierLoss'),
        ]
    )
    losses = head.loss(features(channels=(1, 1, 1, 1)), *ground_truth(TASKS['depth']))
    assert list(losses) == [
        'loss_silog',
        'loss_relative_squared_error',
        'loss_multi_scale_gradient',
        'loss_masked_l1',
        'loss_masked_l1_1',
        'loss_charbonnier',
    ]
    assert torch.allclose(losses['loss_masked_l1_1'], 2 * losses['loss_masked_l1'])


def test_losses_default_to_those_of_the_task():
    assert [type(loss).__name__ for loss in identity_head().losses] == ['MaskedL1Loss']


def test_intermediate_predictions_are_trained_too():
    losses = [dict(type='MaskedL1Loss'), dict(type='TestFinalOnlyLoss')]
    head = identity_head(losses=losses, intermediate_weight=0.5)
    feats = features(channels=(1, 1, 1, 1))
    feats.intermediate['depth'] = [feats.shared[0], feats.shared[1]]
    feats.intermediate['normal'] = [torch.zeros(2, 3, 4, 4)]
    named = head.loss(feats, *ground_truth(TASKS['depth']))
    assert list(named) == [
        'loss_masked_l1',
        'loss_final_only',
        'aux0.loss_masked_l1',
        'aux1.loss_masked_l1',
    ]
    assert torch.allclose(named['aux0.loss_masked_l1'], 0.5 * named['loss_masked_l1'])


@pytest.mark.parametrize('reduction', ['mean', 'sum'])
def test_losses_of_intermediate_predictions_become_one(reduction):
    losses = [dict(type='MaskedL1Loss'), dict(type='MaskedL1Loss')]
    plain = identity_head(losses=losses, intermediate_weight=0.5)
    head = identity_head(losses=losses, intermediate_weight=0.5, intermediate_reduction=reduction)
    feats = features(channels=(1, 1, 1, 1))
    data = ground_truth(TASKS['depth'])
    assert list(head.loss(feats, *data)) == ['loss_final']
    feats.intermediate['depth'] = list(feats.shared)
    named, every = head.loss(feats, *data), plain.loss(feats, *data)
    final = every['loss_masked_l1'] + every['loss_masked_l1_1']
    initial = sum(value for name, value in every.items() if name.startswith('aux'))
    assert list(named) == ['loss_final', 'loss_init']
    assert torch.allclose(named['loss_final'], final)
    assert torch.allclose(named['loss_init'], initial / (4 if reduction == 'mean' else 1))


def test_unknown_reduction_is_refused():
    with pytest.raises(ValueError, match=r"heads\['depth'\].intermediate_reduction is 'max'"):
        identity_head(intermediate_reduction='max')


def test_logits_are_resized_before_they_are_activated():
    head = identity_head()
    feats = features(channels=(1, 1, 1, 1))
    want = F.softplus(F.interpolate(feats.shared[0], size=(32, 48), mode='bilinear'))
    assert torch.allclose(head.predict(feats, (32, 48)), want)
    target, mask = ground_truth(TASKS['depth'])
    error = (want - target).abs()[mask].mean()
    assert torch.allclose(head.loss(feats, target, mask)['loss_masked_l1'], error)


@pytest.mark.parametrize(
    'choice, odd, want', [(None, 0, False), (None, 1, True), (False, 1, False)]
)
def test_corners_follow_the_input_width_unless_told(choice, odd, want):
    size = (32 + odd, 48 + odd)
    feats = features(size=size, channels=(1, 1, 1, 1))
    head = identity_head(align_corners=choice)
    assert head.corners(feats) is want
    resized = F.interpolate(feats.shared[0], size=size, mode='bilinear', align_corners=want)
    assert torch.allclose(head.predict(feats, size), F.softplus(resized))


def test_own_maps_of_a_task_come_first():
    feats = features(channels=(1, 1, 1, 1))
    feats.per_task['depth'] = torch.full((2, 1, 8, 8), 3.0)
    assert (identity_head().forward(feats) == 3).all()


def test_wrong_maps_are_named():
    task = TASKS['depth']
    feats = features()
    with pytest.raises(ShapeError, match=r"heads\['depth'\].*\(8,\) channels.*\(9,\)"):
        ConvHead(task, 9).forward(feats)
    with pytest.raises(ShapeError, match=r'in_index is \(7,\).*4 maps'):
        ConvHead(task, 8, in_index=7).forward(feats)
    with pytest.raises(ShapeError, match=r'in_index is \(-5,\)'):
        ConvHead(task, 8, in_index=-5).forward(feats)
    with pytest.raises(ValueError, match=r'selects 2 maps.*describes 1'):
        ConvHead(task, 8, in_index=(0, 1))
    with pytest.raises(ValueError, match="in_index is 'fine'"):
        ConvHead(task, 8, in_index='fine')
    with pytest.raises(ValueError, match='num_convs=-1'):
        ConvHead(task, 8, num_convs=-1)
    with pytest.raises(ValueError, match='reads two maps'):
        DeepLabV3PlusHead(task, 8, in_index=0)


def test_all_maps_are_fused_at_the_finest_size():
    head = ConvHead(TASKS['depth'], CHANNELS, in_index='all', num_convs=0)
    feats = features()
    maps = [
        F.interpolate(m, size=(8, 12), mode='bilinear', align_corners=False) for m in feats.shared
    ]
    want = F.conv2d(torch.cat(maps, dim=1), head.predictor.weight, head.predictor.bias)
    assert torch.allclose(head(feats), want, atol=1e-6)


def test_parameters_of_the_deeplab_head():
    # ResNet-50, 40 classes: five ASPP branches and projection, low-level projection, fusion.
    head = MODELS.build(
        dict(type='DeepLabV3PlusHead', in_channels=(256, 2048)),
        default_args=dict(
            task=build_tasks(dict(semseg=dict(type='SemSeg', num_classes=40)))['semseg']
        ),
    )
    branches = 2 * (2048 * 256 + 512) + 3 * (9 * 2048 * 256 + 512)
    project = 5 * 256 * 256 + 512
    low = 256 * 48 + 96
    fusion = sum(9 * c + 2 * c + c * 256 + 512 for c in (304, 256))
    want = branches + project + low + fusion + 256 * 40 + 40
    assert sum(p.numel() for p in head.parameters()) == want


def test_dropout_acts_in_training_only():
    head = ConvHead(TASKS['depth'], 8, dropout_ratio=0.5)
    feats = features()
    assert not torch.equal(head(feats), head(feats))
    head.eval()
    assert torch.equal(head(feats), head(feats))


def test_published_start_of_the_last_layer():
    """Weights of 0.01 and no bias, where depth otherwise starts at a depth of 3 m."""
    head = ConvHead(TASKS['depth'], 8, channels=512, predictor_std=0.01)
    assert not head.predictor.bias.any()
    assert 0.0085 < head.predictor.weight.std() < 0.0115
    assert head.convs[0].conv.bias is None
    assert ConvHead(TASKS['depth'], 8).predictor.bias.item() == pytest.approx(2.9489, abs=1e-3)
