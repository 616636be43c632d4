"""Draw the pictures of docs/conventions.md.

::

    python tools/misc/draw_conventions.py --out docs/images

Everything in them is computed: rooms are rendered, transforms are those of the library.
"""

import io
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from mmdense.conventions import CONVENTIONS, axis_matrix, axis_to_ray_depth
from mmdense.datasets.rooms import render_room
from mmdense.datasets.transforms import TaskAwareFlip, TaskAwareRotate, TaskAwareScaleRotate
from mmdense.tasks import build_tasks
from mmdense.utils.command_line import ToolParser
from mmdense.utils.files import atomic_write_bytes

matplotlib.use('agg')

_COLOURS = dict(x='#D55E00', y='#009E73', z='#0072B2')
_ROOM = dict(seed=0, split='val', index=1)
_GREY = '0.55'
_LARGE = 180_000  # bytes


def _save(figure: Figure, path: Path) -> None:
    """As a PNG, with fewer colours where it would be large."""
    raw = io.BytesIO()
    figure.savefig(raw, format='png', dpi=100)
    data = raw.getvalue()
    if len(data) > _LARGE:
        out = io.BytesIO()
        picture = Image.open(raw).convert('RGB')
        # A second pass with the palette of the first one dithers.
        picture.quantize(palette=picture.quantize(256)).save(out, format='png', optimize=True)
        data = out.getvalue()
    atomic_write_bytes(path, data)
    print(f'{path}: {len(data) / 1024:.0f} kB')


def _flat(point: Any) -> np.ndarray:
    """Library coordinates to the paper: x right, y up, z towards the viewer to the lower left."""
    x, y, z = np.asarray(point, float).T
    return np.stack([x - 0.55 * z, y - 0.4 * z], axis=-1)


def _arrow(axes: Any, start: Any, end: Any, colour: str, text: str, grow: float = 1.18) -> None:
    a, b = _flat(start), _flat(end)
    axes.annotate('', b, a, arrowprops=dict(arrowstyle='-|>', color=colour, lw=2.2))
    axes.text(*(a + grow * (b - a)), text, color=colour, ha='center', va='center', fontsize=11)


def _draw_camera(axes: Any, name: str, title: str) -> None:
    """Camera, picture plane and the axes of a convention."""
    corners = np.array([[-1, 0.75, -3], [1, 0.75, -3], [1, -0.75, -3], [-1, -0.75, -3]])
    plane = _flat(corners)
    axes.fill(*plane.T, color='0.93', zorder=0)
    axes.plot(*np.vstack([plane, plane[:1]]).T, color=_GREY, lw=1)
    origin = np.zeros(3)
    for corner in corners:
        axes.plot(*_flat(np.stack([origin, corner])).T, color=_GREY, lw=0.6)
    axes.text(*_flat([0, 0.5, -3]), 'scene', color=_GREY, ha='center', fontsize=9)
    convention = CONVENTIONS[name]
    for row, letter in zip(axis_matrix(convention.axes), 'xyz'):
        _arrow(axes, origin, 1.25 * row, _COLOURS[letter], letter)
    # A wall that faces the camera, and its normal.
    normal = np.array([0, 0, -1.0 if convention.outward else 1.0])
    start = np.array([0.2, -0.2, -3])
    a, b = _flat(start), _flat(start + 0.9 * normal)
    axes.annotate('', b, a, arrowprops=dict(arrowstyle='-|>', color='black', lw=1.4))
    value = axis_matrix(convention.axes) @ normal
    label = ', '.join(f'{v + 0:.0f}' for v in value)
    where = 'from the wall' if convention.outward else 'of the wall'
    axes.text(a[0] + 0.14, a[1] - 0.42, f'normal {where}\n({label})', fontsize=8)
    axes.plot(0, 0, 'o', color='black', ms=5)
    axes.set_title(title, fontsize=10)
    axes.set_xlim(-1.6, 3.4)
    axes.set_ylim(-1.6, 2.2)
    axes.set_aspect('equal')
    axes.axis('off')


def draw_axes(folder: Path) -> None:
    """Camera axes of the library and of others, with the normal of a wall."""
    figure = Figure(figsize=(9.6, 5.2), layout='constrained')
    names = (
        ('library', 'mmdense, OpenGL, Blender, nerfstudio'),
        ('opencv', 'OpenCV, COLMAP'),
        ('pytorch3d', 'PyTorch3D'),
        ('dsine', 'DSINE: OpenCV axes, outward normals'),
        ('omnidata', 'Omnidata, Taskonomy, 2D-3D-S (normals)'),
    )
    grid = figure.subplots(2, 3).ravel()
    for axes, (name, title) in zip(grid, names):
        _draw_camera(axes, name, title)
    _draw_pixels(grid[-1])
    _save(figure, folder / 'conventions_axes.png')


def _draw_pixels(axes: Any) -> None:
    width, height = 5, 4
    for i in range(width + 1):
        axes.plot([i, i], [0, height], color=_GREY, lw=0.8)
    for j in range(height + 1):
        axes.plot([0, width], [j, j], color=_GREY, lw=0.8)
    centres = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), -1)
    axes.plot(*centres.reshape(-1, 2).T, '.', color='black', ms=5)
    axes.annotate('', (2.2, 0), (0, 0), arrowprops=dict(arrowstyle='-|>', color='#D55E00', lw=2.2))
    axes.annotate('', (0, 2.2), (0, 0), arrowprops=dict(arrowstyle='-|>', color='#009E73', lw=2.2))
    axes.text(2.35, -0.3, 'u', color='#D55E00', fontsize=11)
    axes.text(-0.35, 2.5, 'v', color='#009E73', fontsize=11)
    axes.text(3.55, 1.72, '(3.5, 1.5)', fontsize=8, va='top')
    axes.plot(3.5, 1.5, 'o', color='black', ms=6)
    axes.set_title('pixel coordinates; centres at + 0.5', fontsize=10)
    axes.set_xlim(-0.8, width + 0.3)
    axes.set_ylim(height + 0.3, -0.8)
    axes.set_aspect('equal')
    axes.axis('off')


def _sphere(size: int) -> np.ndarray:
    """Normals of a ball that faces the viewer, zero around it."""
    y, x = np.mgrid[1 : -1 : size * 1j, -1 : 1 : size * 1j]
    inside = x**2 + y**2 < 1
    z = np.sqrt(np.where(inside, 1 - x**2 - y**2, 0))
    return np.where(inside[..., None], np.stack([x, y, z], -1), 0).astype(np.float32)


def draw_normals(folder: Path) -> None:
    """A room, its normals with arrows, and the ball that explains the colours."""
    task = build_tasks(dict(normal=dict(type='Normal')))['normal']
    room = render_room(**_ROOM, size=(240, 320))
    normals = room.gt['normal']
    figure = Figure(figsize=(9.6, 3.0), layout='constrained')
    left, middle, right = figure.subplots(1, 3, width_ratios=(320, 320, 240))
    left.imshow(room.image)
    left.set_title('picture', fontsize=10)
    middle.imshow(task.colorize(normals))
    step = 27
    rows, columns = np.mgrid[step // 2 : 240 : step, step // 2 : 320 : step]
    x, y, _ = normals[rows, columns].reshape(-1, 3).T
    middle.quiver(
        columns.ravel(), rows.ravel(), x, y, angles='uv', units='dots', scale=1 / 22, width=1.6,
        headwidth=5, headlength=5, minlength=0.5,
    )  # fmt: skip
    middle.set_title('normals; arrows: their (x, y)', fontsize=10)
    ball = task.colorize(_sphere(240))
    ball[~task.valid(_sphere(240))] = 255
    right.imshow(ball)
    for (u, v), text in {
        (205, 120): 'x = 1\nleft walls\nface right', (120, 30): 'y = 1: floors',
        (42, 120): 'x = -1', (120, 212): 'y = -1: ceilings', (120, 120): 'z = 1\nto the viewer',
    }.items():  # fmt: skip
        right.text(u, v, text, ha='center', va='center', fontsize=8)
    right.set_title('colours: 127.5 (n + 1)', fontsize=10)
    for axes in (left, middle, right):
        axes.axis('off')
    _save(figure, folder / 'conventions_normals.png')


def _sample() -> dict[str, Any]:
    tasks = build_tasks(dict(depth=dict(type='Depth'), normal=dict(type='Normal')))
    room = render_room(**_ROOM, size=(192, 256))
    return dict(
        img=room.image,
        gt=dict(depth=room.depth.copy(), normal=room.gt['normal'].copy()),
        tasks=tasks,
        rng=np.random.default_rng(0),
        ori_shape=room.image.shape[:2],
        img_shape=room.image.shape[:2],
        intrinsics=room.intrinsics.copy(),
    )


def draw_transforms(folder: Path) -> None:
    """One point through flip, rotation and zoom, with its values."""
    height, width = 192, 256
    # A point of a surface that faces sideways and up a little, as (row, column).
    row, column = 100, 60
    angle, zoom = 20.0, 1.5
    centre = np.array([height / 2, width / 2])
    offset = np.array([row + 0.5, column + 0.5]) - centre
    cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    turned = centre + np.array([[cos, -sin], [sin, cos]]) @ offset  # of (row, column)
    # This transform keeps a pixel in place, which is half a pixel beside the middle.
    enlarged = centre + 0.5 + zoom * (offset - 0.5)
    enlarge = TaskAwareScaleRotate(scales=[zoom], angles=[0], interpolation=dict(normal='nearest'))
    cases: list[tuple[str, Any, Any]] = [
        ('before', None, (row + 0.5, column + 0.5)),
        ('horizontal flip', TaskAwareFlip(prob=1.0), (row + 0.5, width - column - 0.5)),
        (f'turned by {angle:g} degrees', TaskAwareRotate((angle, angle), prob=1.0), turned),
        (f'zoom by {zoom:g}', enlarge, enlarged),
    ]
    figure = Figure(figsize=(9.6, 4.1), layout='constrained')
    grid = figure.subplots(2, len(cases))
    for number, (title, transform, point) in enumerate(cases):
        sample = _sample()
        sample = sample if transform is None else transform(sample)
        top, bottom = grid[:, number]
        top.imshow(sample['img'])
        top.set_title(title, fontsize=10)
        task = sample['tasks']['normal']
        bottom.imshow(task.colorize(sample['gt']['normal']))
        i, j = (int(np.floor(value)) for value in point)
        normal, depth = sample['gt']['normal'][i, j], sample['gt']['depth'][i, j]
        for axes in (top, bottom):
            axes.plot(point[1] - 0.5, point[0] - 0.5, 'o', mfc='none', mec='white', ms=9, mew=2)
            axes.plot(point[1] - 0.5, point[0] - 0.5, 'o', mfc='none', mec='black', ms=7, mew=1)
            axes.axis('off')
        bottom.set_title(
            f'n = ({", ".join(f"{v + 0:.2f}" for v in normal)}),  Z = {depth:.2f} m', fontsize=9
        )
    _save(figure, folder / 'conventions_transforms.png')


def draw_depth(folder: Path) -> None:
    """A wall seen from above: equal depth, unequal distance; and both maps of a room."""
    figure = Figure(figsize=(9.6, 3.1), layout='constrained')
    above, first, second = figure.subplots(1, 3, width_ratios=(1.15, 1, 1))
    wall = 3.0
    above.plot([-2.4, 2.7], [wall, wall], color='black', lw=4)
    above.text(0, wall + 0.15, 'wall', ha='center', fontsize=9)
    above.plot(0, 0, 'o', color='black')
    above.text(0.15, -0.3, 'camera, seen from above', fontsize=9)
    side = 2.2
    for x, text, align in ((0.0, -0.15, 'right'), (side, side + 0.15, 'left')):
        above.annotate('', (x, wall), (0, 0), arrowprops=dict(arrowstyle='-|>', color='#D55E00'))
        along = x + (-0.06 if x == 0 else 0.06)
        above.annotate(
            '', (along, wall), (along, 0), arrowprops=dict(arrowstyle='<|-|>', color='#0072B2')
        )
        above.text(text, 1.4, f'Z = {wall:g} m', color='#0072B2', fontsize=9, ha=align)
    slope = np.rad2deg(np.arctan2(wall, side))
    above.text(
        0.62 * side, 0.5 * wall, f'ray: {np.hypot(side, wall):.2f} m', color='#D55E00', fontsize=9,
        rotation=slope, rotation_mode='anchor', ha='center', va='top',
    )  # fmt: skip
    above.set_xlim(-2.5, 3.6)
    above.set_ylim(-0.5, 3.6)
    above.set_aspect('equal')
    above.axis('off')
    room = render_room(**_ROOM, size=(144, 192))
    along = axis_to_ray_depth(room.depth, room.intrinsics)
    maps = {'depth Z': room.depth, 'length of the ray': along}
    top = max(float(m.max()) for m in maps.values())
    for axes, (title, values) in zip((first, second), maps.items()):
        shown = axes.imshow(values, cmap='viridis', vmin=0, vmax=top)
        axes.contour(values, levels=np.arange(0.5, top, 0.25), colors='white', linewidths=0.5)
        axes.set_title(f'{title} [m], lines every 0.25 m', fontsize=9)
        axes.axis('off')
    figure.colorbar(shown, ax=(first, second), shrink=0.75)
    _save(figure, folder / 'conventions_depth.png')


def main() -> None:
    parser = ToolParser(__doc__)
    parser.add_argument('--out', type=Path, default=Path('docs/images'), help='folder')
    args = parser.parse_args()
    for draw in (draw_axes, draw_normals, draw_transforms, draw_depth):
        draw(args.out)


if __name__ == '__main__':
    main()
