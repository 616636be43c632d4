"""Depth losses: closed forms, loops, invariances."""

import math

import numpy as np
import pytest
import torch

from mmdense.models.losses import (
    CharbonnierLoss,
    MultiScaleGradientLoss,
    RelativeSquaredErrorLoss,
    SILogLoss,
)


@pytest.fixture
def depths():
    """Three pictures of 19 x 14 with holes; the last has no valid pixel."""
    rng = np.random.default_rng(5)
    pred = rng.uniform(0.5, 8, (3, 1, 19, 14)).astype(np.float32)
    target = rng.uniform(0.5, 8, (3, 1, 19, 14)).astype(np.float32)
    mask = rng.uniform(size=(3, 1, 19, 14)) > 0.3
    mask[2] = False
    target[~mask] = 0
    return torch.from_numpy(pred), torch.from_numpy(target), torch.from_numpy(mask)


def per_image(depths, function):
    """Mean over the pictures with valid pixels of ``function(d, g)`` on fp64 vectors."""
    values = []
    for d, g, m in zip(*(t.numpy() for t in depths)):
        if m.any():
            values.append(function(d[m].astype(np.float64), g[m].astype(np.float64)))
    return np.mean(values)


@pytest.mark.parametrize('focus', [0.0, 0.5, 0.85, 1.0])
@pytest.mark.parametrize('sqrt', [False, True])
def test_silog_equals_its_formula(depths, focus, sqrt):
    def formula(d, g):
        e = np.log(d) - np.log(g)
        value = (e**2).mean() - focus * e.mean() ** 2
        return math.sqrt(value) if sqrt else value

    got = SILogLoss(variance_focus=focus, sqrt=sqrt)(*depths)
    assert got.item() == pytest.approx(per_image(depths, formula), rel=1e-5)


def test_relative_squared_error_equals_its_formula(depths):
    want = per_image(depths, lambda d, g: math.sqrt((((g - d) / g) ** 2).mean()))
    assert RelativeSquaredErrorLoss()(*depths).item() == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize('c', [0.5, 1.0, 3.0])
def test_charbonnier_equals_its_formula(depths, c):
    want = per_image(depths, lambda d, g: (np.sqrt(((d - g) / c) ** 2 + 1) - 1).mean())
    assert CharbonnierLoss(c=c)(*depths).item() == pytest.approx(want, rel=1e-5)


def test_charbonnier_of_a_known_error():
    target = torch.full((1, 1, 2, 2), 2.0)
    loss = CharbonnierLoss(c=2.0)(target + 2 * math.sqrt(3), target, target > 0)
    assert loss.item() == pytest.approx(1.0, rel=1e-6)


def test_charbonnier_keeps_small_errors():
    target = torch.full((1, 1, 2, 2), 2.0, dtype=torch.float64)
    loss = CharbonnierLoss()((target + 1e-4).float(), target.float(), target > 0)
    assert loss.item() == pytest.approx(5e-9, rel=1e-2)


def test_a_scaled_prediction_costs_relative_error_but_no_silog(depths):
    _, target, mask = depths
    scaled = 1.5 * target
    assert SILogLoss()(scaled, target, mask).item() == pytest.approx(0, abs=1e-10)
    assert SILogLoss(variance_focus=0)(scaled, target, mask).item() == pytest.approx(
        math.log(1.5) ** 2, rel=1e-5
    )
    assert RelativeSquaredErrorLoss()(scaled, target, mask).item() == pytest.approx(0.5, rel=1e-5)
    assert MultiScaleGradientLoss()(scaled, target, mask).item() == pytest.approx(0, abs=1e-5)


def test_pictures_weigh_the_same_however_few_pixels_they_have():
    target = torch.ones(2, 1, 8, 8)
    pred = torch.cat([torch.full((1, 1, 8, 8), 2.0), torch.full((1, 1, 8, 8), 1.5)])
    mask = torch.ones(2, 1, 8, 8, dtype=torch.bool)
    mask[1, :, 1:] = False
    loss = RelativeSquaredErrorLoss()(pred, target, mask)
    assert loss.item() == pytest.approx((1.0 + 0.5) / 2, rel=1e-6)


def brute_gradient(d, g, m, scales):
    total = 0.0
    for s in range(scales):
        step = 2**s
        r = (np.log(d) - np.log(np.where(m, g, 1)))[::step, ::step]
        k = m[::step, ::step]
        found = []
        for i in range(r.shape[0]):
            for j in range(r.shape[1]):
                if j + 1 < r.shape[1] and k[i, j] and k[i, j + 1]:
                    found.append(abs(r[i, j + 1] - r[i, j]))
                if i + 1 < r.shape[0] and k[i, j] and k[i + 1, j]:
                    found.append(abs(r[i + 1, j] - r[i, j]))
        total += sum(found) / max(len(found), 1)
    return total


@pytest.mark.parametrize('scales', [1, 4, 6])
def test_gradient_loss_equals_a_loop(depths, scales):
    pred, target, mask = (t.numpy().astype(np.float64) for t in depths)
    mask = mask.astype(bool)
    want = np.mean([brute_gradient(pred[i, 0], target[i, 0], mask[i, 0], scales) for i in (0, 1)])
    got = MultiScaleGradientLoss(scales=scales, loss_weight=1.0)(*depths)
    assert got.item() == pytest.approx(want, rel=1e-5)


def test_gradient_loss_of_a_step():
    # e is 0 left and 1 right of column 4: per scale, 8 / 2^s rows cross the step once.
    target = torch.ones(1, 1, 8, 8)
    pred = torch.ones(1, 1, 8, 8)
    pred[..., 4:] = math.e
    want = sum(rows / (2 * rows * (rows - 1)) for rows in (8, 4, 2))
    got = MultiScaleGradientLoss(scales=4, loss_weight=1.0)(pred, target, target > 0)
    assert got.item() == pytest.approx(want, rel=1e-5)


def test_lonely_pixels_have_no_gradient_loss():
    target = torch.zeros(1, 1, 8, 8)
    target[..., 3, 3] = 2.0
    loss = MultiScaleGradientLoss()(torch.rand(1, 1, 8, 8) + 1, target, target > 0)
    assert loss == 0


def test_zero_predictions_stay_finite(depths):
    pred = torch.zeros(3, 1, 19, 14, requires_grad=True)
    for loss in (SILogLoss(), SILogLoss(sqrt=True), MultiScaleGradientLoss()):
        value = loss(pred, *depths[1:])
        value.backward()
        assert value.isfinite() and pred.grad.isfinite().all()
