import math

import pytest
import torch
from torch.autograd import gradcheck
from triplane_scenes import naive_two_pass, random_case, random_head

from mmdense.models.regularizers.functional import (
    alpha_at,
    composite,
    importance_depths,
    pixel_centers,
    render_factorised,
    render_naive,
    sample_triplane,
)
from mmdense.models.regularizers.functional.integral import inclusive_sum
from mmdense.utils import ShapeError

F64 = torch.float64


def weighted(values, details, seed=0):
    """A scalar that looks at everything a render gives, with random weights."""
    g = torch.Generator().manual_seed(seed)
    total = 0
    for key in values:
        found = details[key]
        for part in (values[key], found.opacity, found.depth, found.weights, found.sample_weights):
            total = total + (part * torch.randn(part.shape, generator=g, dtype=F64)).sum()
    return total


@pytest.mark.parametrize('seed', range(30))
def test_factorised_render_equals_the_definition(seed):
    planes, heads, grid, z, u, options, leaves = random_case(seed)
    importance = 'shared' if seed % 8 > 5 else 'per_task'
    found = render_factorised(
        planes, heads, grid, z, None, u, importance=importance, details=True,
        chunk_mib=1e-4 if seed % 3 else None, **options,
    )  # fmt: skip
    truth = naive_two_pass(planes, heads, grid, z, u, importance, options)
    for key in heads:
        scale = truth[0][key].abs().max().clamp(min=1)
        assert (found[0][key] - truth[0][key]).abs().max() <= 1e-12 * scale
        for a, b in zip(found[1][key], truth[1][key]):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
    ours, theirs = (
        torch.autograd.grad(weighted(*r), leaves, allow_unused=True) for r in (found, truth)
    )
    for a, b in zip(ours, theirs):
        a, b = (torch.zeros(()).double() if t is None else t for t in (a, b))
        assert (a - b).abs().max() <= 1e-10 * b.abs().max().clamp(min=1)


def test_a_single_precision_render_is_exact_to_rounding():
    torch.manual_seed(3)
    planes = torch.randn(1, 3, 16, 9, 11, dtype=F64)
    heads = {k: random_head(16, 16, n) for k, n in dict(a=5, b=1).items()}
    z = (torch.arange(64, dtype=F64) + 0.5) / 32 - 1
    truth = render_naive(planes, heads, (9, 11), z)
    single = {k: {n: v.float() for n, v in h.items()} for k, h in heads.items()}
    found = render_factorised(planes.float(), single, (9, 11), z.float())
    for key in heads:
        error = (found[key].double() - truth[key]).abs().max()
        assert error <= 1e-5 * truth[key].abs().max()
        half = render_factorised(planes.float(), single, (9, 11), z.float(), table_dtype='fp16')
        error = (half[key].double() - truth[key]).abs().max() / truth[key].abs().max()
        assert 1e-6 < error < 2e-3


def test_gradcheck():
    torch.manual_seed(0)
    planes = torch.randn(1, 3, 2, 2, 3, dtype=F64, requires_grad=True)
    head = random_head(2, 3, 2)
    names = list(head)
    z = torch.linspace(-0.9, 0.8, 3, dtype=F64)
    u = torch.rand(1, 4, 2, dtype=F64).sort(-1).values

    def render(planes, *values):
        head = dict(zip(names, values))
        found, facts = render_factorised(planes, dict(t=head), (2, 2), z, details=True)
        return found['t'], facts['t'].opacity, facts['t'].depth, facts['t'].weights

    assert gradcheck(render, (planes, *(v.requires_grad_() for v in head.values())))
    # Depths carry no gradient by definition, so they must not move while differences are taken.
    fine = importance_depths(z, torch.rand(1, 4, 2, dtype=F64), u)

    def per_ray(planes, *values):
        merged = torch.cat([z.expand(1, 4, 3), fine], -1).sort(-1).values
        found = render_factorised(planes, dict(t=dict(zip(names, values))), (2, 2), merged)
        return found['t']

    assert gradcheck(per_ray, (planes, *(v.requires_grad_() for v in head.values())))


def test_window_is_a_part_of_the_whole():
    torch.manual_seed(0)
    planes = torch.randn(2, 3, 4, 5, 7, dtype=F64)
    heads = dict(a=random_head(4, 3, 2))
    z = torch.linspace(-0.9, 0.9, 5, dtype=F64)
    for size in ((5, 7), (6, 4)):
        u = torch.rand(2, size[0] * size[1], 3, dtype=F64).sort(-1).values
        whole = render_factorised(planes, heads, size, z, 3, u)['a'].unflatten(1, size)
        part = u.unflatten(1, size)[:, 1:4, 2:4].flatten(1, 2)
        found = render_factorised(planes, heads, size, z, 3, part, window=(1, 2, 3, 2))['a']
        torch.testing.assert_close(found.unflatten(1, (3, 2)), whole[:, 1:4, 2:4])
        whole, part = (
            render_naive(planes, heads, size, z, window=window)['a']
            for window in (None, (1, 2, 3, 2))
        )
        expected = whole.unflatten(1, size)[:, 1:4, 2:4]
        torch.testing.assert_close(part.unflatten(1, (3, 2)), expected)
    with pytest.raises(ShapeError, match='leaves the grid'):
        render_factorised(planes, heads, (5, 7), z, window=(3, 0, 3, 7))


# -- conventions ----------------------------------------------------------------


def reading(planes, size, z, **options):
    """Features at every ray and depth, ``(H, W, S)``."""
    ys, xs = (pixel_centers(n, F64) for n in size)
    points = torch.stack(torch.meshgrid(xs, ys, z, indexing='xy'), dim=-1)
    return sample_triplane(planes, points.reshape(1, -1, 3), **options).view(*size, len(z))


@pytest.mark.parametrize(
    ('plane', 'row', 'column', 'lit'),
    [
        (0, 2, 3, (2, 3, slice(None))),  # xy: one pixel at all depths
        (1, 2, 3, (2, slice(None), 3)),  # yz: one row, one depth
        (2, 2, 3, (slice(None), 3, 2)),  # xz: one column, one depth
    ],
)
def test_one_cell_of_a_plane_lights_what_it_stands_for(plane, row, column, lit):
    planes = torch.zeros(1, 3, 1, 4, 5, dtype=F64)
    planes[0, plane, 0, row, column] = 1
    depths = dict(enumerate((7, 5, 4)))[plane]
    z = pixel_centers(depths, F64)
    found = reading(planes, (4, 5), z)
    expected = torch.zeros_like(found)
    expected[lit] = 1
    assert torch.equal(found.round(decimals=12), expected)


def test_the_slip_of_the_released_code_never_sees_y_outside_the_first_plane():
    torch.manual_seed(0)
    planes = torch.randn(1, 3, 2, 6, 6, dtype=F64)
    planes[:, 0] = 0
    points = torch.rand(1, 8, 3, dtype=F64) * 2 - 1
    moved = points * torch.tensor([1.0, -1.0, 1.0])
    slip = dict(layout='xy_xz_zx')
    assert torch.equal(*(sample_triplane(planes, p, **slip) for p in (points, moved)))
    assert not torch.allclose(*(sample_triplane(planes, p) for p in (points, moved)))
    # Third plane: columns follow z, rows follow x.
    planes[:, 1] = 0
    found = sample_triplane(planes, points, **slip)
    turned = points[..., [0, 0, 2]]
    both = torch.zeros_like(planes)
    both[:, 1] = planes[:, 2]
    assert torch.allclose(found, sample_triplane(both, turned))


def test_mirrored_planes_render_the_mirrored_picture():
    torch.manual_seed(0)
    planes = torch.randn(1, 3, 3, 4, 5, dtype=F64)
    heads = dict(a=random_head(3, 4, 2))
    z = torch.linspace(-0.9, 0.9, 6, dtype=F64)
    mirrored = planes.clone()
    mirrored[:, [0, 2]] = planes[:, [0, 2]].flip(-1)
    one, two = (
        render_factorised(p, heads, (4, 5), z, 4)['a'].view(4, 5, 2) for p in (planes, mirrored)
    )
    torch.testing.assert_close(two, one.flip(1))
    assert not torch.allclose(one, two)


@pytest.mark.parametrize('padding', ['border', 'zeros'])
def test_unequal_grids_against_weights_by_hand(padding):
    torch.manual_seed(0)
    planes = torch.randn(1, 3, 1, 5, 7, dtype=F64)
    size, z = (6, 4), torch.tensor([-1.0, -0.31, 0.4, 0.97], dtype=F64)

    def weights(coordinate, n):
        position = ((coordinate + 1) * n - 1) / 2
        if padding == 'border':
            position = min(max(position, 0.0), n - 1.0)
        first = math.floor(position)
        pairs = {first: 1 - (position - first), first + 1: position - first}
        return {cell: w for cell, w in pairs.items() if 0 <= cell < n}

    def read(plane, column, row):
        return sum(
            wc * wr * float(planes[0, plane, 0, r, c])
            for c, wc in weights(column, 7).items()
            for r, wr in weights(row, 5).items()
        )

    found = reading(planes, size, z, padding=padding)
    for i in range(6):
        for j in range(4):
            x, y = (2 * j + 1) / 4 - 1, (2 * i + 1) / 6 - 1
            for k, depth in enumerate(z.tolist()):
                expected = read(0, x, y) + read(1, depth, y) + read(2, x, depth)
                assert float(found[i, j, k]) == pytest.approx(expected, abs=1e-12)


def test_mean_of_planes_is_a_third_of_their_sum():
    torch.manual_seed(0)
    planes, points = torch.randn(1, 3, 2, 4, 4), torch.rand(1, 5, 3)
    total, mean = (sample_triplane(planes, points, aggregation=a) for a in ('sum', 'mean'))
    torch.testing.assert_close(3 * mean, total)


# -- the integral -----------------------------------------------------------------


@pytest.mark.parametrize('rule', ['midpoint', 'left_opaque'])
def test_weights_are_shares_of_the_light(rule):
    torch.manual_seed(0)
    sigma = 6 * torch.randn(50, 12, dtype=F64)
    z = torch.rand(50, 12, dtype=F64).sort(-1).values
    found = composite(sigma, z, rule)
    assert (found.weights >= 0).all()
    torch.testing.assert_close(found.sample_weights.sum(-1), found.opacity)
    step = z.diff()
    near, far = sigma[:, :-1], sigma[:, 1:]
    raw = near if rule == 'left_opaque' else (near + far) / 2
    left = torch.exp(-(torch.nn.functional.softplus(raw - 1) * step).sum(-1))
    rest = 0 if rule == 'left_opaque' else left
    torch.testing.assert_close(found.opacity + rest, torch.ones(50, dtype=F64))
    if rule == 'left_opaque':
        torch.testing.assert_close(found.weights[:, -1], left)
    assert ((found.depth >= z[:, 0]) & (found.depth <= z[:, -1])).all()


def test_midpoint_integral_by_hand():
    sigma, z = torch.tensor([1.0, 3.0, -1.0], dtype=F64), torch.tensor([0.0, 0.5, 2.0], dtype=F64)
    d = [math.log1p(math.exp(2 - 1)) * 0.5, math.log1p(math.exp(1 - 1)) * 1.5]
    w = [1 - math.exp(-d[0]), math.exp(-d[0]) - math.exp(-d[0] - d[1])]
    found = composite(sigma, z)
    assert found.weights.tolist() == pytest.approx(w)
    assert found.sample_weights.tolist() == pytest.approx([w[0] / 2, sum(w) / 2, w[1] / 2])
    assert float(found.depth) == pytest.approx((w[0] * 0.25 + w[1] * 1.25) / sum(w))


def test_a_ray_through_nothing_has_a_depth_and_no_opacity():
    found = composite(torch.full((4,), -200.0), torch.linspace(-1, 1, 4))
    assert float(found.opacity) == 0
    assert -1 <= float(found.depth) <= 1
    found = composite(torch.zeros(4), torch.full((4,), 0.3))  # no room between samples
    assert float(found.opacity) == 0
    assert float(found.depth) == pytest.approx(0.3)


@pytest.mark.parametrize('rule', ['midpoint', 'left_opaque'])
def test_an_opaque_slab_is_found_and_looked_at(rule):
    z = (torch.arange(64) + 0.5) / 32 - 1
    slab = 0.237
    sigma = torch.where((z - slab).abs() < 1 / 32, 2e3, -50.0)
    found = composite(sigma, z, rule)
    assert abs(float(found.depth) - slab) <= 1 / 32 + 1e-4
    u = (torch.arange(64) + 0.5) / 64
    fine = importance_depths(z, found.weights[..., :63], u)
    assert (fine.diff() >= 0).all()
    assert fine.min() >= z[0]
    assert fine.max() <= z[-1]
    assert ((fine - slab).abs() < 3 / 32).float().mean() > 0.5


def test_importance_depths_by_hand():
    z = torch.tensor([0.0, 1.0, 3.0, 4.0], dtype=F64)
    weights = torch.tensor([0.2, 0.6, 0.1], dtype=F64)
    # Neighbours that do not exist are left out of the maxima.
    p = [0.01 + (0.2 + 0.6) / 2, 0.01 + (0.6 + 0.6) / 2, 0.01 + (0.6 + 0.1) / 2]
    p = [value / sum(p) for value in p]
    u = torch.tensor([0.0, p[0] / 2, p[0] + p[1] / 4, 1.0], dtype=F64)
    expected = [0.0, 0.5, 1.5, 4.0]
    assert importance_depths(z, weights, u).tolist() == pytest.approx(expected)
    many = importance_depths(z, weights.expand(2, 3, 3), u)
    assert many.shape == (2, 3, 4)
    torch.testing.assert_close(many[1, 2], importance_depths(z, weights, u))


@pytest.fixture
def deterministic():
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def test_deterministic_algorithms_give_the_same_numbers(deterministic):
    planes, heads, grid, z, u, options, leaves = random_case(11)

    def run():
        found = render_factorised(planes, heads, grid, z, None, u, **options)
        total = sum(v.square().sum() for v in found.values())
        return [total, *torch.autograd.grad(total, leaves, allow_unused=True)]

    values = torch.rand(3, 5, dtype=F64)
    by_triangle = inclusive_sum(values)
    strict = run()
    torch.use_deterministic_algorithms(False)
    torch.testing.assert_close(by_triangle, values.cumsum(-1))
    for a, b in zip(strict, run()):
        if a is not None:
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


def test_alpha_of_every_iteration():
    iterations = (0, 1, 100, 5000, 10000, 19999, 20000, 20001, 39999)
    expected = (0, 0.0002, 0.02, 1, 2, 3.9998, 4, 4, 4)
    assert [alpha_at(i) for i in iterations] == pytest.approx(expected)
    with pytest.raises(ValueError, match='ramp_iters is 0'):
        alpha_at(1, ramp_iters=0)


# -- wrong use ----------------------------------------------------------------------


def test_wrong_arguments_are_named():
    planes = torch.zeros(2, 3, 2, 4, 4)
    heads = dict(a={k: v.float() for k, v in random_head(2, 2, 1).items()})
    z = torch.linspace(-1, 1, 3)
    for render in (render_naive, render_factorised):
        with pytest.raises(ShapeError, match=r'wants \(B, 1, C, Hp, Wp\)'):
            render(planes, heads, (4, 4), z, layout='xy')
        with pytest.raises(ValueError, match=r"'xw'.*Known: xy"):
            render(planes, heads, (4, 4), z, layout='xy_xw_xz')
        for key in ('rule', 'closure', 'padding', 'aggregation'):
            with pytest.raises(ValueError, match=f"{key} is 'no'; choose"):
                render(planes, heads, (4, 4), z, **{key: 'no'})
    with pytest.raises(ShapeError, match='u has shape'):
        render_factorised(planes, heads, (4, 4), z, 3, torch.zeros(2, 15, 3))
    with pytest.raises(ShapeError, match='depths of shape'):
        render_naive(planes, heads, (4, 4), torch.zeros(2, 15, 3))


# -- memory ------------------------------------------------------------------------


def kept_mib(run):
    """MiB of storage that a forward pass keeps for backward."""
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        result = run()
    del result
    return sum(kept.values()) / 2**20


@pytest.mark.parametrize(('coarse', 'fine'), [(128, 0), (64, 64)])
def test_little_is_kept_for_backward_at_the_size_of_nyuv2(coarse, fine):
    size, channels = (56, 72), dict(semseg=40, depth=1, normal=3, boundary=1)
    planes = torch.randn(1, 3, 64, *size, requires_grad=True)
    heads = {
        key: {n: v.float().requires_grad_() for n, v in random_head(64, 64, count).items()}
        for key, count in channels.items()
    }
    z = (torch.arange(coarse) + 0.5) * 2 / coarse - 1
    assert 10 < kept_mib(lambda: render_factorised(planes, heads, size, z, fine)) < 64
