import numpy as np
import pytest
import torch
from triplane_scenes import TASKS, make, maps, random_head, samples

from mmdense.conventions import back_project, project
from mmdense.models.regularizers.functional import render_naive, render_points
from mmdense.models.regularizers.functional.naive import depths_per_ray, ray_points
from mmdense.models.regularizers.second_view import depends_on_camera, find_pairs, rays_of_view
from mmdense.tasks import build_tasks

SIZE = (16, 24)
K = np.array([[20.0, 0, 12], [0, 20, 8], [0, 0, 1]])


def camera(x=0.0, yaw=0.0, view=0, **more):
    c, s = np.cos(yaw), np.sin(yaw)
    pose = np.array([[c, 0, s, x], [0, 1, 0, 0.3 * x], [-s, 0, c, 0.1], [0, 0, 0, 1.0]])
    return dict(pair_id='a', view=view, intrinsics=K, pose=pose, **more)


def paired(tasks, **more):
    found = samples(tasks)
    for view, sample in enumerate(found):
        sample.set_metainfo(camera(0.2 * view, 0.1 * view, view, **more))
    return found


@pytest.mark.parametrize('seed', range(4))
def test_general_rays_that_are_straight_equal_the_definition(seed):
    torch.manual_seed(seed)
    layout = ('xy_yz_xz', 'xy')[seed % 2]
    planes = torch.randn(2, len(layout.split('_')), 3, 4, 5, dtype=torch.float64)
    wz = seed == 1
    heads = {k: random_head(3, 4, n, wz=wz) for k, n in dict(a=2, b=1).items()}
    density = random_head(3, 4, 1, wz=wz) if seed > 1 else None
    options = dict(rule=('midpoint', 'left_opaque')[seed % 2], layout=layout, density=density,
                   aggregation=('sum', 'mean')[seed // 2])  # fmt: skip
    z = torch.linspace(-0.9, 0.9, 6, dtype=torch.float64)
    each = depths_per_ray(z, 2, 12)
    points = ray_points((3, 4), each).unflatten(1, (12, 6))
    leaves = [planes, heads['a']['w1'], heads['a']['b1'], heads['a']['w2'], heads['b']['w1']]
    for leaf in leaves:
        leaf.requires_grad_()
    found = render_points(planes, heads, points, z, chunk=5, **options)
    truth = render_naive(planes, heads, (3, 4), z, **options)
    for key in heads:
        torch.testing.assert_close(found[key], truth[key])
    ours, theirs = (
        torch.autograd.grad(sum(v.square().sum() for v in r.values()), leaves)
        for r in (found, truth)
    )
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a, b)


def test_samples_outside_are_empty():
    planes, heads = torch.ones(1, 3, 2, 4, 4), dict(a=random_head(2, 3, 1, dtype=torch.float32))
    points, z = torch.zeros(1, 1, 5, 3), torch.linspace(-1, 1, 5)
    inside = torch.tensor([False] * 5).view(1, 1, 5)
    assert not render_points(planes, heads, points, z, inside)['a'].any()
    assert render_points(planes, heads, points, z)['a'].any()


def test_rays_meet_the_points_that_the_other_camera_sees():
    source, target = camera(), camera(0.3, 0.2, view=1)
    metres = torch.tensor([1.0, 2.5, 4.0])
    points, inside = rays_of_view(source, target, SIZE, SIZE, metres, 0.5, 6.0)
    for index, depth in enumerate(metres.tolist()):
        seen = back_project(np.full(SIZE, depth, np.float32), K).reshape(-1, 3).astype(float)
        world = seen @ target['pose'][:3, :3].T + target['pose'][:3, 3]
        local = (world - source['pose'][:3, 3]) @ source['pose'][:3, :3]
        uv, z = project(local, K)
        expected = np.stack(
            [2 * uv[:, 0] / 24 - 1, 2 * uv[:, 1] / 16 - 1, 2 * (z - 0.5) / 5.5 - 1], -1
        )
        near = np.abs(expected) <= 1
        assert np.allclose(points[:, index][near], expected[near], atol=1e-5)
        assert (inside[:, index].numpy() == near.all(-1)).all()
    assert 0.2 < inside.float().mean() < 1


def test_a_mirrored_pair_casts_mirrored_rays():
    pair = camera(), camera(0.3, 0.2, view=1)
    metres = torch.tensor([1.0, 3.0])
    plain, _ = rays_of_view(*pair, SIZE, SIZE, metres, 0.5, 6.0)
    # The principal point is the middle, so it stays when the picture is mirrored.
    flipped = [dict(meta, flip=True) for meta in pair]
    found, _ = rays_of_view(*flipped, SIZE, SIZE, metres, 0.5, 6.0)
    mirrored = plain.unflatten(0, SIZE).flip(1) * torch.tensor([-1.0, 1.0, 1.0])
    torch.testing.assert_close(found.unflatten(0, SIZE), mirrored, atol=1e-5, rtol=1e-5)


def test_pairs_are_found_in_both_directions():
    tasks = build_tasks(dict(semseg=TASKS['semseg']))
    batch = [*paired(tasks), *samples(tasks)]
    assert find_pairs(batch) == [(0, 1), (1, 0)]
    batch[0].set_metainfo(dict(flip=True))
    assert find_pairs(batch) == []
    alone = samples(tasks)
    alone[0].set_metainfo(dict(pair_id='b', view=0))
    with pytest.raises(KeyError, match=r'p0\.png has a `pair_id` but no pose, intrinsics'):
        find_pairs(alone)


def test_the_other_view_is_supervised():
    options = dict(views=2, z_metres=(0.5, 6.0), second_weight=0.5, dropout=0.0)
    branch = make(tasks=('semseg', 'depth', 'normal'), **options)
    losses = branch(maps(), paired(branch.tasks), iteration=2)
    raw = losses['triplane.raw_semseg_view2']
    torch.testing.assert_close(losses['triplane.loss_semseg_view2'].detach(), 2 * 0.5 * raw)
    # Depth and normals are not the same from another camera.
    assert not any('depth_view2' in key or 'normal_view2' in key for key in losses)
    losses['triplane.loss_semseg_view2'].backward()
    assert branch.encoder.lift.weight.grad.any()
    alone = branch(maps(), samples(branch.tasks), iteration=2)
    assert alone['triplane.loss_semseg_view2'] == 0
    assert alone['triplane.loss_semseg_view2'].requires_grad
    tasks = build_tasks(TASKS)
    assert [depends_on_camera(tasks[k]) for k in ('semseg', 'depth', 'normal')] == [
        False,
        True,
        True,
    ]


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(views=3), r'views=3; choose 1 or 2'),
        (dict(views=2), r'z_metres is None; need 0 < near < far'),
        (dict(views=2, z_metres=(2.0, 1.0)), r'z_metres is \(2\.0, 1\.0\)'),
        (dict(views=2, z_metres=(1.0, 2.0), second_weight=-1.0), r'second_weight is -1\.0'),
        (dict(views=2, z_metres=(1.0, 2.0), second_tasks=['dept']), "Did you mean 'depth'"),
        (dict(views=2, z_metres=(1.0, 2.0), tasks=('depth',)), 'no task is the same'),
    ],
    ids=str,
)
def test_wrong_second_views(changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes)
