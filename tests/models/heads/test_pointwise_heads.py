"""Final heads of MT-CP, and its losses."""

import pytest
import torch
import torch.nn.functional as F

from mmdense.models.heads import PointwiseDepthHead, PointwiseHead
from mmdense.models.losses import BalancedBCELoss
from mmdense.structures import DenseFeatures
from mmdense.tasks import Depth, Normal, Part, Saliency, SemSeg

L1_MEAN = [dict(type='MaskedL1Loss', channel_reduction='mean')]
L2_MEAN = [dict(type='MaskedL2Loss', channel_reduction='mean')]


def count(module):
    return sum(p.numel() for p in module.parameters())


def feats(channels=8, size=(5, 6), **options):
    return DenseFeatures(shared=(torch.randn(2, channels, *size),), image_size=(20, 24), **options)


def test_parameters():
    nyud = [
        PointwiseHead(SemSeg(40), 256),
        PointwiseDepthHead(Depth(), 256),
        PointwiseHead(Normal(), 256),
    ]
    assert sum(map(count, nyud)) == 180_204
    pascal = [PointwiseHead(task, 256) for task in (SemSeg(21), Part(7), Saliency())]
    assert sum(map(count, pascal)) == 205_597


def test_depth_head_equals_enlarging_between_the_convolutions():
    """The order of the released code, at four times the cost."""
    head = PointwiseDepthHead(Depth(), 8, upsample=2).double()
    maps = feats()
    x = maps.shared[0].double()
    y = F.interpolate(head.reduce(x), scale_factor=2, mode='bilinear', align_corners=True)
    want = head.predictor(head.narrow(y).relu())
    got = head(maps.replace(shared=(x,)))
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)
    assert got.shape == (2, 1, 10, 12)


def test_logits_are_enlarged_with_aligned_corners():
    head = PointwiseHead(SemSeg(5), 8, upsample=4).eval()
    maps = feats()
    small = head.predictor(head.mix(maps.shared[0]))
    got = head(maps)
    assert got.shape == (2, 5, 20, 24)
    corners = (0, 0, -1, -1), (0, -1, 0, -1)
    torch.testing.assert_close(got[..., corners[0], corners[1]], small[..., corners[0], corners[1]])


def test_intermediate_predictions_may_have_losses_of_their_own():
    """The released code: squared error of the final normals, absolute error of the others."""
    task = Normal(activation='identity', losses=L2_MEAN)
    head = PointwiseHead(task, 8, auxiliary_losses=L1_MEAN, intermediate_weight=0.5)
    logits = torch.randn(2, 3, 5, 6)
    maps = feats(intermediate=dict(normal=[logits, 2 * logits]))
    target = F.normalize(torch.randn(2, 3, 20, 24), dim=1)
    losses = head.loss(maps, target, torch.ones(2, 1, 20, 24, dtype=torch.bool))
    assert list(losses) == ['loss_masked_l2', 'aux0.loss_masked_l1', 'aux1.loss_masked_l1']
    large = F.interpolate(logits, size=(20, 24), mode='bilinear')
    for index in (0, 1):
        want = 0.5 * (target - (index + 1) * large).abs().mean()
        torch.testing.assert_close(losses[f'aux{index}.loss_masked_l1'], want)


@pytest.mark.parametrize('activation', ['unit', 'identity'])
def test_length_of_normals(activation):
    """Losses of unit normals do not depend on the length of the prediction; maps never do."""
    task = Normal(activation=activation, losses=L1_MEAN)
    head = PointwiseHead(task, 8)
    logits = torch.randn(2, 3, 20, 24)
    target = F.normalize(torch.randn(2, 3, 20, 24), dim=1)
    valid = torch.ones(2, 1, 20, 24, dtype=torch.bool)
    values = [
        head.named_losses(task.activate(scale * logits), target, valid)['loss_masked_l1']
        for scale in (1, 7)
    ]
    assert torch.allclose(*values) == (activation == 'unit')
    torch.testing.assert_close(task.decode(7 * logits).norm(dim=1), torch.ones(2, 20, 24))
    if activation == 'unit':
        torch.testing.assert_close(values[0], (F.normalize(logits, dim=1) - target).abs().mean())


@pytest.mark.parametrize(
    'task',
    [
        SemSeg(5),
        Part(7),
        Saliency(losses=[dict(type='BalancedBCELoss', positive_weight=None)]),
        Depth(activation='identity'),
        Normal(losses=L1_MEAN),
        Normal(activation='identity', losses=L2_MEAN),
    ],
    ids=lambda task: f'{task.key} {getattr(task, "activation", "")}',
)
def test_batches_without_labels_give_zero_with_finite_gradients(task):
    kind = PointwiseDepthHead if task.key == 'depth' else PointwiseHead
    head = kind(task, 8, upsample=2)
    logits = torch.randn(2, task.num_channels, 5, 6, requires_grad=True)
    maps = feats(intermediate={task.key: [logits]})
    dtype = torch.uint8 if task.gt_channels == 1 and task.key != 'depth' else torch.float32
    target = torch.full((2, task.gt_channels, 20, 24), task.ignore_value, dtype=dtype)
    losses = head.loss(maps, target, task.valid_mask(target))
    assert len(losses) == 2 and all(value == 0 for value in losses.values())
    sum(losses.values()).backward()
    grads = [logits.grad, *(p.grad for p in head.parameters())]
    assert all(g is not None and (g == 0).all() for g in grads)


@pytest.mark.parametrize('salient', [0.0, 0.3, 1.0])
def test_balanced_loss_of_saliency_against_a_loop(salient):
    logits = torch.randn(2, 1, 4, 5).double()
    labels = (torch.rand(2, 1, 4, 5) < salient).to(torch.uint8)
    valid = torch.rand(2, 1, 4, 5) < 0.8
    pairs = [
        (z.item(), y.item())
        for z, y, ok in zip(logits.flatten(), labels.flatten(), valid.flatten())
        if ok
    ]
    negatives = sum(y == 0 for _, y in pairs) / len(pairs)
    total = 0.0
    for z, y in pairs:
        p = 1 / (1 + torch.tensor(-z).double().exp())
        total -= (negatives * p.log() if y else (1 - negatives) * (1 - p).log()).item()
    got = BalancedBCELoss(positive_weight=None)(logits, labels, valid).item()
    assert got == pytest.approx(total / len(pairs), rel=1e-6)
    if salient in (0.0, 1.0):
        assert got == 0


def test_what_is_refused():
    with pytest.raises(ValueError, match='upsample=0'):
        PointwiseHead(SemSeg(5), 8, upsample=0)
    with pytest.raises(ValueError, match='at least 4'):
        PointwiseDepthHead(Depth(), 8, channels=2)
    with pytest.raises(ValueError, match="'tanh'"):
        Normal(activation='tanh')
