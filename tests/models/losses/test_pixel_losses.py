"""Losses pooled over the batch against loops and closed forms."""

import math

import pytest
import torch
import torch.nn.functional as F

import mmdense.models  # noqa: F401  (fills the registry)
from mmdense.models.losses import (
    BalancedBCELoss,
    CharbonnierLoss,
    CosineLoss,
    MaskedL1Loss,
    MaskedL2Loss,
    MultiScaleGradientLoss,
    PixelCrossEntropyLoss,
    RelativeSquaredErrorLoss,
    SILogLoss,
)
from mmdense.registry import MODELS
from mmdense.utils import ShapeError


def labels_and_mask(classes: int, seed: int = 0):
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (2, 1, 5, 7), generator=rng).to(torch.uint8)
    mask = torch.rand(2, 1, 5, 7, generator=rng) > 0.3
    return torch.where(mask, labels, torch.tensor(255, dtype=torch.uint8)), mask


def vectors(seed: int = 0, size=(2, 3, 5, 7)):
    rng = torch.Generator().manual_seed(seed)
    pred = F.normalize(torch.randn(size, generator=rng), dim=1)
    target = F.normalize(torch.randn(size, generator=rng), dim=1)
    mask = torch.rand(size[0], 1, *size[2:], generator=rng) > 0.3
    return pred, target * mask, mask


def brute_mean(values, mask):
    """Mean of ``(B, H, W)`` values over the mask ``(B, 1, H, W)`` by a loop."""
    kept = [
        values[b, i, j].item()
        for b in range(mask.shape[0])
        for i in range(mask.shape[2])
        for j in range(mask.shape[3])
        if mask[b, 0, i, j]
    ]
    return sum(kept) / len(kept)


def test_cross_entropy_equals_pytorch_on_valid_pixels():
    labels, mask = labels_and_mask(4)
    logits = torch.randn(2, 4, 5, 7)
    want = F.cross_entropy(logits, labels[:, 0].long(), ignore_index=255)
    assert torch.allclose(PixelCrossEntropyLoss()(logits, labels, mask), want)


def test_class_weights_multiply_and_do_not_renormalise():
    labels, mask = labels_and_mask(3)
    logits, weight = torch.randn(2, 3, 5, 7), [0.5, 2.0, 3.0]
    log_p = logits.log_softmax(1)
    index = torch.where(mask, labels.long(), 0)
    nll = -log_p.gather(1, index)[:, 0] * torch.tensor(weight)[index[:, 0]]
    got = PixelCrossEntropyLoss(class_weight=weight)(logits, labels, mask)
    assert got.item() == pytest.approx(brute_mean(nll, mask), rel=1e-5)


def test_label_smoothing_mixes_in_the_uniform_target():
    labels, mask = labels_and_mask(3)
    logits, eps = torch.randn(2, 3, 5, 7), 0.2
    log_p = logits.log_softmax(1)
    nll = -log_p.gather(1, torch.where(mask, labels.long(), 0))[:, 0]
    want = (1 - eps) * brute_mean(nll, mask) + eps * brute_mean(-log_p.mean(1), mask)
    got = PixelCrossEntropyLoss(label_smoothing=eps)(logits, labels, mask)
    assert got.item() == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize('weight', [0.8, 0.95, None])
def test_balanced_bce_equals_a_loop(weight):
    labels, mask = labels_and_mask(2)
    x = 3 * torch.randn(2, 1, 5, 7)
    y = torch.where(mask, labels, 0).float()
    w = brute_mean(1 - y[:, 0], mask) if weight is None else weight
    values = w * y * F.softplus(-x) + (1 - w) * (1 - y) * F.softplus(x)
    got = BalancedBCELoss(positive_weight=weight)(x, labels, mask)
    assert got.item() == pytest.approx(brute_mean(values[:, 0], mask), rel=1e-5)


def test_adaptive_bce_of_negatives_alone_is_zero():
    labels = torch.zeros(1, 1, 4, 4, dtype=torch.uint8)
    loss = BalancedBCELoss(positive_weight=None)(torch.randn(1, 1, 4, 4), labels, labels == 0)
    assert loss == 0


def test_l1_sums_channels_unless_told_otherwise():
    pred, target, mask = vectors()
    want = brute_mean((pred - target).abs().sum(1), mask)
    assert MaskedL1Loss()(pred, target, mask).item() == pytest.approx(want, rel=1e-5)
    mean = MaskedL1Loss(channel_reduction='mean', loss_weight=3)(pred, target, mask)
    assert mean.item() == pytest.approx(want, rel=1e-5)


def test_l2_of_unit_normals_is_twice_the_cosine_loss():
    pred, target, mask = vectors()
    l2 = MaskedL2Loss()(pred, target, mask)
    assert l2.item() == pytest.approx(brute_mean((pred - target).square().sum(1), mask), rel=1e-5)
    assert torch.allclose(l2, 2 * CosineLoss()(pred, target, mask), rtol=1e-5)


def test_cosine_ignores_length():
    pred, target, mask = vectors()
    scaled = pred * torch.rand(2, 1, 5, 7).add(0.1)
    want = brute_mean(1 - (pred * target).sum(1), mask)
    assert CosineLoss()(scaled, target, mask).item() == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize('loss', [MaskedL1Loss(), MaskedL2Loss(), CosineLoss()])
def test_normal_losses_agree_on_mirrored_pictures(loss):
    pred, target, mask = vectors()
    sign = torch.tensor([-1.0, 1.0, 1.0]).view(1, 3, 1, 1)
    mirrored = loss(pred.flip(-1) * sign, target.flip(-1) * sign, mask.flip(-1))
    assert torch.allclose(mirrored, loss(pred, target, mask), rtol=1e-5)


EVERY = [
    dict(type='PixelCrossEntropyLoss', label_smoothing=0.1),
    dict(type='BalancedBCELoss', positive_weight=None),
    dict(type='BalancedBCELoss', positive_weight=0.8),
    dict(type='MaskedL1Loss'),
    dict(type='MaskedL2Loss'),
    dict(type='CosineLoss'),
    dict(type='SILogLoss'),
    dict(type='SILogLoss', variance_focus=0.85, sqrt=True),
    dict(type='RelativeSquaredErrorLoss'),
    dict(type='MultiScaleGradientLoss'),
    dict(type='CharbonnierLoss'),
]


def sample(cfg, images=2):
    """Prediction, target and mask that fit a loss; a quarter of the pixels is unknown."""
    rng = torch.Generator().manual_seed(3)
    size = (images, 1, 9, 12)
    mask = torch.rand(size, generator=rng) > 0.25
    if cfg['type'] == 'PixelCrossEntropyLoss':
        pred = torch.randn(images, 4, 9, 12, generator=rng)
        target = torch.randint(0, 4, size, generator=rng).to(torch.uint8)
        return pred, torch.where(mask, target, 255), mask
    if cfg['type'] == 'BalancedBCELoss':
        target = torch.randint(0, 2, size, generator=rng).to(torch.uint8)
        return torch.randn(size, generator=rng), torch.where(mask, target, 255), mask
    if cfg['type'] in ('MaskedL1Loss', 'MaskedL2Loss', 'CosineLoss'):
        pred = F.normalize(torch.randn(images, 3, 9, 12, generator=rng), dim=1)
        target = F.normalize(torch.randn(images, 3, 9, 12, generator=rng), dim=1)
        return pred, target * mask, mask
    depth = 1 + 5 * torch.rand(size, generator=rng)
    return 0.5 + 5 * torch.rand(size, generator=rng), depth * mask, mask


@pytest.mark.parametrize('cfg', EVERY, ids=str)
def test_no_valid_pixel_is_zero_in_the_graph(cfg):
    pred, target, mask = sample(cfg)
    pred.requires_grad_()
    loss = MODELS.build(cfg)(pred, target * 0, torch.zeros_like(mask))
    loss.backward()
    assert loss.ndim == 0 and loss == 0
    assert torch.equal(pred.grad, torch.zeros_like(pred))


@pytest.mark.parametrize('cfg', EVERY, ids=str)
def test_gradients_are_finite_and_only_at_valid_pixels(cfg):
    pred, target, mask = sample(cfg)
    pred.requires_grad_()
    MODELS.build(cfg)(pred, target, mask).backward()
    assert pred.grad.isfinite().all() and pred.grad.abs().sum() > 0
    assert (pred.grad * ~mask == 0).all()


@pytest.mark.parametrize('cfg', EVERY[3:], ids=str)
def test_garbage_at_unknown_pixels_changes_nothing(cfg):
    pred, target, mask = sample(cfg)
    want = MODELS.build(cfg)(pred, target, mask)
    bad = torch.where(mask, pred, -1.0).requires_grad_()
    got = MODELS.build(cfg)(bad, torch.where(mask, target, float('nan')), mask)
    got.backward()
    assert torch.equal(got, want)
    assert bad.grad.isfinite().all()


@pytest.mark.parametrize('cfg', EVERY, ids=str)
def test_a_picture_without_labels_does_not_count(cfg):
    pred, target, mask = sample(cfg)
    mask[1] = False
    loss = MODELS.build(cfg)
    assert torch.allclose(loss(pred, target, mask), loss(pred[:1], target[:1], mask[:1]))


@pytest.mark.parametrize('cfg', EVERY, ids=str)
def test_half_precision_predictions_are_read_in_fp32(cfg):
    pred, target, mask = sample(cfg)
    loss = MODELS.build(cfg)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        got = loss(pred.bfloat16(), target, mask)
    assert got.dtype == torch.float32
    assert torch.equal(got, loss(pred.bfloat16().float(), target, mask))
    assert got.item() == pytest.approx(loss(pred, target, mask).item(), rel=0.02)


@pytest.mark.parametrize('cfg', EVERY, ids=str)
def test_loss_weight_is_a_factor(cfg):
    pred, target, mask = sample(cfg)
    once = MODELS.build(dict(cfg, loss_weight=1.0))(pred, target, mask)
    thrice = MODELS.build(dict(cfg, loss_weight=3.0))(pred, target, mask)
    assert torch.allclose(thrice, 3 * once)


@pytest.mark.parametrize('cfg', EVERY, ids=str)
def test_gradients_equal_finite_differences(cfg):
    pred, target, mask = sample(cfg, images=1)
    pred = pred[..., :4, :4].double().requires_grad_()
    target, mask = target[..., :4, :4], mask[..., :4, :4]
    if target.is_floating_point():
        target = target.double()
    loss = MODELS.build(cfg)
    if getattr(loss, 'class_weight', None) is not None:
        loss = loss.double()
    assert torch.autograd.gradcheck(lambda x: loss(x, target, mask), pred, atol=1e-4)


def test_only_the_gradient_loss_is_left_off_auxiliary_outputs():
    assert [cfg['type'] for cfg in EVERY if MODELS.build(cfg).final_only] == [
        'MultiScaleGradientLoss'
    ]
    assert not MultiScaleGradientLoss(final_only=False).final_only
    assert MultiScaleGradientLoss().loss_weight == 0.5


def test_shape_errors_tell_both_shapes():
    with pytest.raises(ShapeError, match=r'MaskedL1Loss.*\(2, 3, 4, 4\).*\(2, 3, 8, 8\)'):
        MaskedL1Loss()(
            torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 4, 4), torch.ones(2, 1, 8, 8).bool()
        )
    with pytest.raises(ShapeError, match=r'valid_mask.*\(2, 8, 8\)'):
        MaskedL1Loss()(torch.zeros(2, 1, 8, 8), torch.zeros(2, 1, 8, 8), torch.ones(2, 8, 8).bool())
    with pytest.raises(ShapeError, match=r'torch\.uint8'):
        MaskedL1Loss()(
            torch.zeros(2, 1, 8, 8), torch.zeros(2, 1, 8, 8), torch.ones(2, 1, 8, 8).byte()
        )


@pytest.mark.parametrize(
    'build, text',
    [
        (lambda: PixelCrossEntropyLoss(label_smoothing=1.0), 'label_smoothing is 1.0'),
        (lambda: BalancedBCELoss(positive_weight=2), 'positive_weight is 2'),
        (lambda: MaskedL1Loss(channel_reduction='max'), "channel_reduction is 'max'"),
        (lambda: SILogLoss(variance_focus=-1), 'variance_focus is -1'),
        (lambda: MultiScaleGradientLoss(scales=0), 'scales is 0'),
        (lambda: CharbonnierLoss(c=0), 'c is 0'),
    ],
)
def test_impossible_arguments_fail_at_build_time(build, text):
    with pytest.raises(ValueError, match=text):
        build()


def test_relative_error_root_is_safe_at_zero():
    depth = torch.ones(1, 1, 4, 4)
    pred = depth.clone().requires_grad_()
    loss = RelativeSquaredErrorLoss()(pred, depth, depth > 0)
    loss.backward()
    assert loss.item() == pytest.approx(math.sqrt(1e-12))
    assert pred.grad.isfinite().all()


@pytest.mark.parametrize('cfg', EVERY, ids=str)
def test_one_graph_without_breaks(cfg):
    # A graph break would mean a wait for the device in every training step.
    torch._dynamo.reset()  # all losses share one forward, whose variants are counted
    inputs, loss = sample(cfg), MODELS.build(cfg)
    compiled = torch.compile(loss, backend='eager', fullgraph=True)
    assert torch.allclose(compiled(*inputs), loss(*inputs))
