"""Random planes, MLPs, features and ground truth for the tests of regularizers."""

import torch
from mmengine.structures import PixelData

from mmdense.models.regularizers import AuxHeadRegularizer, TriplaneRegularizer
from mmdense.models.regularizers.functional import importance_depths, render_naive
from mmdense.structures import DenseDataSample
from mmdense.tasks import build_tasks

SIZE = (16, 24)
SMALL = dict(channels=4, hidden=4, mid_channels=4, coarse=4, fine=4, render_stride=4, ramp_iters=4)
TASKS = dict(semseg=dict(type='SemSeg', num_classes=3), depth=dict(type='Depth'),
             normal=dict(type='Normal'))  # fmt: skip


def random_head(channels, hidden, out, dtype=torch.float64, wz=False):
    def draw(*shape):
        return 0.5 * torch.randn(shape, dtype=dtype)

    head = dict(
        w1=draw(hidden, channels), b1=draw(hidden), w2=draw(out, hidden), b2=draw(out),
        w3=draw(hidden), b3=draw(),
    )  # fmt: skip
    return dict(head, wz=draw(hidden)) if wz else head


def random_case(seed):
    """Planes, heads, arguments of both renders, and leaves to differentiate."""
    g = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)

    def pick(*values):
        return values[int(torch.randint(len(values), (1,), generator=g))]

    def number(low, high):
        return int(torch.randint(low, high + 1, (1,), generator=g))

    batch, tasks, channels, hidden = number(1, 2), 1 + seed % 6, number(1, 5), number(1, 5)
    cells, grid = (number(1, 6), number(1, 6)), (number(1, 6), number(1, 6))
    grid = cells if seed % 3 == 0 else grid
    wz = seed % 7 == 0
    layout = pick('xy_yz_xz', 'xy_yz_xz', 'xy_xz_zx', 'xy', 'xy_xz')
    planes = torch.randn(batch, len(layout.split('_')), channels, *cells, dtype=torch.float64)
    heads = {f't{i}': random_head(channels, hidden, i + 1, wz=wz) for i in range(tasks)}
    density = random_head(channels, hidden, 1, wz=wz) if seed % 4 == 1 else None
    options = dict(
        rule=pick('midpoint', 'left_opaque'), closure=pick('none', 'normalize'),
        padding=pick('border', 'zeros'), layout=layout, aggregation=pick('sum', 'mean'),
        density=density,
    )  # fmt: skip
    rays = grid[0] * grid[1]
    coarse = number(2, 7)
    shape = [(coarse,), (batch, coarse), (batch, rays, coarse)][seed % 5 % 3]
    z = (2 * torch.rand(shape, dtype=torch.float64) - 1).sort(-1).values
    u = None
    if seed % 2:
        u = {k: torch.rand(batch, rays, 4, dtype=torch.float64).sort(-1).values for k in heads}
    leaves = [planes, *(v for h in heads.values() for v in h.values())]
    if density is not None:
        leaves = [planes, *(v for h in heads.values() for k, v in h.items() if k in USED_BY_VALUE)]
        leaves += [v for k, v in density.items() if k not in ('w2', 'b2')]
    for leaf in leaves:
        leaf.requires_grad_()
    return planes, heads, grid, z, u, options, leaves


USED_BY_VALUE = ('w1', 'b1', 'w2', 'b2', 'wz')


def naive_two_pass(planes, heads, grid, z, u, importance, options):
    """Both passes by the definition, a task at a time."""
    _, first = render_naive(planes, heads, grid, z, details=True, **options)
    if u is None:
        return render_naive(planes, heads, grid, z, details=True, **options)
    count = z.shape[-1] - 1
    weights = {key: found.weights[..., :count] for key, found in first.items()}
    if importance == 'shared':
        weights = dict.fromkeys(weights, torch.stack(list(weights.values())).mean(0))
    one = importance == 'shared' or options['density'] is not None
    values, details = {}, {}
    for key, head in heads.items():
        draws = u[next(iter(heads)) if one else key]
        fine = importance_depths(first[key].z, weights[key], draws)
        merged = torch.cat([first[key].z, fine], dim=-1).sort(-1).values
        found = render_naive(planes, {key: head}, grid, merged, details=True, **options)
        values[key], details[key] = found[0][key], found[1][key]
    return values, details


def make(kind=TriplaneRegularizer, tasks=('semseg', 'depth'), **changes):
    built = build_tasks({key: TASKS[key] for key in tasks})
    options = dict(SMALL, in_channels=(3, 5), **changes)
    if kind is AuxHeadRegularizer:
        options = {k: v for k, v in options.items() if k not in ('coarse', 'fine')}
        options['stride'] = options.pop('render_stride')
    return kind(built, **{**options, **changes})


def maps(batch=2):
    g = torch.Generator().manual_seed(1)
    shapes = ((3, 4, 6), (5, 2, 3))
    return tuple(torch.randn(batch, *s, generator=g, requires_grad=True) for s in shapes)


def samples(tasks, batch=2, size=SIZE, kind=DenseDataSample):
    g = torch.Generator().manual_seed(2)
    found = []
    for index in range(batch):
        sample = kind(metainfo=dict(img_path=f'p{index}.png'))
        for key, task in tasks.items():
            value = torch.rand(task.gt_channels, *size, generator=g) + 0.5
            if key == 'semseg':
                value = (3 * torch.rand(1, *size, generator=g)).to(torch.uint8)
            sample.set_field(PixelData(data=value), f'gt_{task.field}', dtype=PixelData)
        found.append(sample)
    return found
