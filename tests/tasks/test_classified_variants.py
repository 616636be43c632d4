"""Depth by bins, normals by directions, boundaries by two classes: tasks, losses, heads."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import mmdense.models  # noqa: F401  (fills the registry)
from mmdense.models.heads import ConvHead
from mmdense.registry import MODELS
from mmdense.structures import DenseFeatures
from mmdense.tasks import BinnedDepth, Boundary, CentroidNormal, build_tasks
from mmdense.utils import ShapeError
from mmdense.utils.quantization import (
    hemisphere,
    log_bin_centers,
    log_bin_index,
    nearest_direction,
    read_directions,
    spherical_kmeans,
)


def loss_of(task, logits, target):
    return MODELS.build(task.losses[0])(task.activate(logits), target, task.valid_mask(target))


def test_bins_are_even_in_the_logarithm():
    depth = torch.tensor([0.1, 0.7, 0.75, 1.0, 2.65, 9.99, 10.0, 50.0])
    ratio = np.log(10 / 0.7)
    exact = np.clip(np.floor(40 * np.log(depth.double().numpy() / 0.7) / ratio), 0, 39)
    assert log_bin_index(depth, 0.7, 10, 40).tolist() == exact.astype(int).tolist()
    assert exact[0] == 0 and exact[-1] == 39
    centers = log_bin_centers(0.7, 10, 40)
    assert log_bin_index(centers, 0.7, 10, 40).tolist() == list(range(40))
    assert torch.allclose(centers[1:] / centers[:-1], torch.tensor((10 / 0.7) ** (1 / 40)))
    # Unknown depth has a bin too, which the mask leaves out.
    assert log_bin_index(torch.tensor([0.0, -1.0]), 0.7, 10, 40).tolist() == [0, 0]


def test_binned_depth_is_cross_entropy_and_the_mean_of_the_centers():
    task = BinnedDepth(num_bins=8, low=1, high=9)
    assert task.num_channels == 8 and task.initial_bias == 0
    torch.manual_seed(0)
    logits = torch.randn(2, 8, 5, 6, requires_grad=True)
    target = torch.rand(2, 1, 5, 6) * 11
    target[0, :, :2] = 0
    labels = log_bin_index(target, 1, 9, 8)[:, 0]
    labels[~task.valid_mask(target)[:, 0]] = -100
    assert (labels == -100).sum() > 12
    torch.testing.assert_close(loss_of(task, logits, target), F.cross_entropy(logits, labels))
    certain = torch.full((1, 8, 1, 1), -50.0)
    certain[0, 3] = 50
    assert task.decode(certain).item() == pytest.approx(9 ** (3.5 / 8))
    even = task.decode(torch.zeros(1, 8, 1, 1)).item()
    assert even == pytest.approx(log_bin_centers(1, 9, 8).mean().item())


def test_centroid_normals_are_cross_entropy_and_the_mean_direction():
    axes = np.eye(3).tolist()
    task = CentroidNormal(num_centroids=3, centroids=axes)
    target = F.normalize(torch.randn(2, 3, 4, 5), dim=1)
    target[1, :, 0] = 0
    assert torch.equal(nearest_direction(target, torch.eye(3)), target.argmax(1, keepdim=True))
    logits = torch.randn(2, 3, 4, 5)
    labels = target.argmax(1)
    labels[1, 0] = -100
    torch.testing.assert_close(loss_of(task, logits, target), F.cross_entropy(logits, labels))
    # Mirrored pictures need no mirrored directions: labels are made of the ground truth.
    found = task.decode(torch.zeros(1, 3, 1, 1)).flatten()
    torch.testing.assert_close(found, torch.full((3,), 3**-0.5))
    assert task.num_channels == 3 and CentroidNormal().num_channels == 40


@pytest.mark.parametrize('task', [BinnedDepth(), CentroidNormal(), Boundary(num_logits=2)], ids=str)
def test_without_labels_the_loss_is_zero_with_gradients(task):
    logits = torch.randn(1, task.num_channels, 3, 4, requires_grad=True)
    target = task.to_tensor(task.empty((3, 4)))[None]
    loss = loss_of(task, logits, target)
    loss.backward()
    assert loss == 0 and not logits.grad.any()


def test_boundaries_of_two_logits_are_class_weighted_cross_entropy():
    task = Boundary(num_logits=2, losses=[dict(type='BalancedBCELoss', positive_weight=0.8)])
    logits = torch.randn(2, 2, 4, 5).double()
    target = torch.randint(0, 2, (2, 1, 4, 5))
    target[0, :, 0] = 255
    valid = task.valid_mask(target)
    total = F.cross_entropy(
        logits,
        target[:, 0],
        weight=torch.tensor([0.2, 0.8]).double(),
        ignore_index=255,
        reduction='sum',
    )
    torch.testing.assert_close(loss_of(task, logits, target), total / valid.sum())
    torch.testing.assert_close(task.decode(task.activate(logits)), logits.softmax(1)[:, 1:].float())


def test_directions_spread_evenly_over_the_half_sphere():
    found = hemisphere(40)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1)
    assert (found[:, 2] > 0).all()
    # The mean height of a half sphere is a half; sideways it is balanced.
    np.testing.assert_allclose(found.mean(0), [0, 0, 0.5], atol=0.02)
    angles = np.degrees(np.arccos(np.clip(found @ found.T, -1, 1)))[~np.eye(40, dtype=bool)]
    # The densest packing of 40 caps on half a sphere has them 24 degrees apart.
    assert 15 < angles.min() < 25
    np.testing.assert_array_equal(read_directions('x', None, 40), found.astype(np.float32))


def test_kmeans_finds_the_directions_of_a_mixture():
    rng = np.random.default_rng(0)
    true = np.array([[0, 0, 1.0], [0.8, 0, 0.6], [0, -0.8, 0.6]])
    labels = np.repeat([0, 1, 2], [300, 200, 100])
    points = true[labels] + rng.normal(scale=0.02, size=(600, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    found, angle = spherical_kmeans(points, 3)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1)
    # By falling size.
    assert np.degrees(np.arccos((found * true).sum(1).clip(-1, 1))).max() < 0.5
    nearest = np.degrees(np.arccos((points @ found.T).max(1).clip(-1, 1)))
    assert angle == pytest.approx(nearest.mean()) and angle < 2
    again, _ = spherical_kmeans(points, 3)
    np.testing.assert_array_equal(found, again)
    with pytest.raises(ValueError, match='1 different vectors for 2 centroids'):
        spherical_kmeans(np.tile(true[:1], (5, 1)), 2)


def test_directions_from_a_file(tmp_path):
    file = tmp_path / 'c.json'
    file.write_text(json.dumps(dict(centroids=np.eye(3).tolist())))
    task = CentroidNormal(num_centroids=3, centroids=str(file))
    loss = MODELS.build(task.losses[0])
    assert torch.equal(loss.directions, torch.eye(3)) and not loss.state_dict()


@pytest.mark.parametrize(
    ('make', 'error', 'message'),
    [
        (lambda: BinnedDepth(low=0), ValueError, 'low=0, high=10.0, num_bins=40; need 0 < low'),
        (lambda: BinnedDepth(num_bins=1), ValueError, 'at least 2 bins'),
        (lambda: CentroidNormal(centroids='no.json'), FileNotFoundError, 'normal_centroids.py'),
        (lambda: CentroidNormal(3, [[0, 0, 1]]), ValueError, r'\(1, 3\), expected \(3, 3\)'),
        (lambda: CentroidNormal(2, [[0, 0, 2], [0, 1, 0]]), ValueError, 'lengths'),
        (lambda: Boundary(num_logits=3), ValueError, r"tasks\['boundary'\].num_logits is 3"),
    ],
)
def test_wrong_settings_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


DEPTH = build_tasks(dict(depth=dict(type='Depth', activation='identity')))['depth']


def head_of(**kwargs):
    variant = dict(type='BinnedDepth', num_bins=6, low=1, high=8)
    return ConvHead(DEPTH, 4, num_convs=0, intermediate_task=variant, **kwargs)


def test_a_head_trains_intermediate_predictions_as_another_variant_of_its_task():
    torch.manual_seed(0)
    head = head_of()
    auxiliary = torch.randn(1, 6, 4, 5)
    feats = DenseFeatures(
        shared=(torch.randn(1, 4, 4, 5),), intermediate=dict(depth=[auxiliary]), image_size=(8, 10)
    )
    target = torch.rand(1, 1, 8, 10) * 9 + 0.5
    valid = DEPTH.valid_mask(target)
    losses = head.loss(feats, target, valid)
    assert set(losses) == {'loss_masked_l1', 'aux0.loss_log_bin_cross_entropy'}
    large = F.interpolate(auxiliary, (8, 10), mode='bilinear', align_corners=False)
    expected = F.cross_entropy(large, log_bin_index(target, 1, 8, 6)[:, 0])
    torch.testing.assert_close(losses['aux0.loss_log_bin_cross_entropy'], expected)
    reduced = head_of(intermediate_reduction='sum').loss(feats, target, valid)
    torch.testing.assert_close(reduced['loss_init'], expected)
    assert head.predict(feats, (8, 10)).shape == (1, 1, 8, 10)


def test_a_head_names_intermediate_predictions_that_do_not_fit():
    feats = DenseFeatures(
        shared=(torch.randn(1, 4, 4, 5),), intermediate=dict(depth=[torch.zeros(1, 1, 4, 5)])
    )
    target = torch.ones(1, 1, 8, 10)
    with pytest.raises(ShapeError, match=r'prediction 0 has 1 channels.*needs 6'):
        head_of().loss(feats, target, DEPTH.valid_mask(target))
    with pytest.raises(KeyError, match="a CentroidNormal, whose name is 'normal'"):
        ConvHead(DEPTH, 4, intermediate_task=dict(type='CentroidNormal'))


@pytest.mark.parametrize(
    ('name', 'target'),
    [
        ('LogBinCrossEntropyLoss', torch.ones(1, 1, 2, 2)),
        ('CentroidCrossEntropyLoss', torch.ones(1, 3, 2, 2)),
    ],
)
def test_a_loss_names_a_prediction_of_other_classes(name, target):
    loss = MODELS.build(dict(type=name))
    with pytest.raises(ShapeError, match=f'{name}: the prediction has 7 channels.*expected 40'):
        loss(torch.zeros(1, 7, 2, 2), target, torch.ones(1, 1, 2, 2, dtype=torch.bool))


def test_the_losses_take_the_targets_of_their_tasks():
    loss = MODELS.build(dict(type='CentroidCrossEntropyLoss'))
    with pytest.raises(ShapeError, match=r'`target` has shape \(1, 1, 2, 2\), expected \(1, 3'):
        loss(torch.zeros(1, 40, 2, 2), torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2).bool())
