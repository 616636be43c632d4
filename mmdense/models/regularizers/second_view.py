"""Rays of another camera through the planes of a picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mmdense.models.layers import full_precision
from mmdense.tasks import BaseTask
from mmdense.utils import suggest

from .field import TriplaneField, bins
from .functional import pixel_centers, render_points
from .renderer import TriplaneRenderer

_NEEDED = ('view', 'pose', 'intrinsics')


class SecondView:
    """Supervision of a picture's planes by another view of the scene.

    Args:
        where (str): How a config calls it, for messages.
        views (int): 2.
        z_metres (tuple[float, float] | None): Depths at near and far, metres.
        weight (float): Factor on ``alpha``.
        chosen (Sequence[str] | None): Tasks; None: those that do not depend on the camera.
        tasks (Mapping[str, BaseTask]): All tasks.

    Raises:
        ValueError: If a number is out of range or a task unknown.
    """

    def __init__(
        self,
        where: str,
        views: int,
        z_metres: tuple[float, float] | None,
        weight: float,
        chosen: Sequence[str] | None,
        tasks: Mapping[str, BaseTask],
    ) -> None:
        if views != 2:
            raise ValueError(f'{where}={views}; choose 1 or 2.')
        if z_metres is None or not 0 < z_metres[0] < z_metres[1]:
            raise ValueError(
                f'{where}=2 moves points in metres: z_metres is {z_metres}; need 0 < near < far, '
                'for example z_metres=(0.5, 8.0).'
            )
        if weight < 0:
            raise ValueError(f'{where}=2: second_weight is {weight}; give a number >= 0.')
        for key in chosen or ():
            if key not in tasks:
                raise ValueError(f'{where}=2: second_tasks: {suggest(key, tasks)}')
        self.near, self.far = z_metres
        self.weight = weight
        self.tasks = [key for key in tasks if chosen is None or key in chosen]
        if chosen is None:
            self.tasks = [key for key in self.tasks if not depends_on_camera(tasks[key])]
        if not self.tasks:
            raise ValueError(
                f'{where}=2: no task is the same from another camera; name some in second_tasks.'
            )

    def predictions(
        self,
        renderer: TriplaneRenderer,
        field: TriplaneField,
        planes: Tensor,
        samples: Sequence[Any],
        size: tuple[int, int],
        image_size: tuple[int, int],
        generator: torch.Generator | None,
    ) -> Iterator[tuple[str, str, Tensor, Sequence[int], float]]:
        """Rendered maps as :meth:`FeatureRegularizer.further` gives them."""
        pairs = find_pairs(samples)
        # A batch without a pair still renders, at weight 0: all ranks must agree on the graph.
        used = pairs or [ViewPair(0, 0)]
        with full_precision(planes):
            count = renderer.coarse + renderer.fine
            draws = planes.new_full((count,), 0.5, dtype=torch.float32)
            if renderer.training and renderer.jitter != 'none':
                draws = torch.rand(count, device=planes.device, generator=generator)
            metres = bins(count, self.near, self.far, draws)
            z = 2 * (metres - self.near) / (self.far - self.near) - 1
            points, inside = self._points(samples, pairs, size, image_size, metres)
            values = render_points(
                planes.float()[[pair.source for pair in used]],
                {key: head for key, head in field.heads().items() if key in self.tasks},
                points, z, inside, density=field.shared_density(), **renderer.options,
            )  # fmt: skip
        targets = [pair.target for pair in used]
        for key, value in values.items():
            logits = value.mT.unflatten(-1, size)
            yield key, '_view2', logits, targets, self.weight if pairs else 0.0

    def _points(
        self,
        samples: Sequence[Any],
        pairs: Sequence[ViewPair],
        size: tuple[int, int],
        image_size: tuple[int, int],
        metres: Tensor,
    ) -> tuple[Tensor, Tensor]:
        if not pairs:
            shape = (1, size[0] * size[1], len(metres))
            inside = torch.ones(shape, dtype=torch.bool, device=metres.device)
            return metres.new_zeros(*shape, 3), inside
        found = [
            rays_of_view(
                samples[pair.source].metainfo, samples[pair.target].metainfo,
                size, image_size, metres, self.near, self.far,
            )
            for pair in pairs
        ]  # fmt: skip
        points, inside = (torch.stack(parts) for parts in zip(*found))
        return points, inside


def depends_on_camera(task: BaseTask) -> bool:
    """Whether values of a task change with distance or direction."""
    kind = type(task)
    return kind.zoom is not BaseTask.zoom or kind.rotate is not BaseTask.rotate


class ViewPair(NamedTuple):
    """The picture whose planes are read, and the one whose rays are cast."""

    source: int
    target: int


def find_pairs(samples: Sequence[Any]) -> list[ViewPair]:
    """Both directions of every pair of views that is complete in a batch.

    Samples are of one pair if their meta information has the same ``pair_id``. Pictures that
    were mirrored or turned differently show no rigid motion and are left out.

    Raises:
        KeyError: If a sample has a ``pair_id`` but no camera.
    """
    by_pair: dict[str, list[int]] = {}
    for index, sample in enumerate(samples):
        meta = getattr(sample, 'metainfo', {})
        if 'pair_id' not in meta:
            continue
        missing = [key for key in _NEEDED if key not in meta]
        if missing:
            raise KeyError(
                f'views=2: picture {meta.get("img_path", index)} has a `pair_id` but no '
                f'{", ".join(missing)} in its meta information.'
            )
        by_pair.setdefault(meta['pair_id'], []).append(index)
    pairs = []
    for members in by_pair.values():
        for source in members:
            for target in members:
                a, b = (samples[i].metainfo for i in (source, target))
                if a['view'] != b['view'] and _same_motion(a, b):
                    pairs.append(ViewPair(source, target))
    return pairs


def _same_motion(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    return bool(a.get('flip')) == bool(b.get('flip')) and not (
        a.get('rotation') or b.get('rotation')
    )


def rays_of_view(
    source: Mapping[str, Any],
    target: Mapping[str, Any],
    size: tuple[int, int],
    image_size: tuple[int, int],
    depths: Tensor,
    near: float,
    far: float,
) -> tuple[Tensor, Tensor]:
    """Samples of the target camera's rays in the coordinates of the source's planes.

    The planes are the source camera's frustum: x and y where a point is seen in its picture,
    z its depth between ``near`` and ``far``, linear in metres.

    Args:
        source (Mapping): Meta information with ``intrinsics`` ``(3, 3)`` in pixels and
            ``pose`` ``(4, 4)``, camera to world, in library axes (see
            :mod:`mmdense.conventions`).
        target (Mapping): That of the other camera.
        size (tuple[int, int]): Grid of rays (H, W) over the target's picture.
        image_size (tuple[int, int]): Height and width of both pictures.
        depths (Tensor): Depths along the target's optical axis, metres, ``(S,)``.
        near (float): Metres.
        far (float): Metres.

    Returns:
        tuple[Tensor, Tensor]: Points ``(R, S, 3)``, and whether each is in the frustum.
    """
    height, width = image_size
    device = depths.device

    def tensor(array: np.ndarray) -> Tensor:
        return torch.as_tensor(array, dtype=torch.float64, device=device)

    k_source, k_target = (tensor(np.asarray(m['intrinsics'])) for m in (source, target))
    motion = tensor(np.linalg.inv(_pose(source)) @ _pose(target))
    rows, columns = (pixel_centers(n, torch.float64, device) for n in size)
    v, u = torch.meshgrid((rows + 1) * height / 2, (columns + 1) * width / 2, indexing='ij')
    x, y = (u - k_target[0, 2]) / k_target[0, 0], (k_target[1, 2] - v) / k_target[1, 1]
    # The camera looks along -z, and y points up.
    rays = torch.stack([x, y, -torch.ones_like(x)], dim=-1).reshape(-1, 1, 3)
    points = rays * depths.double()[:, None]
    points = points @ motion[:3, :3].mT + motion[:3, 3]
    depth = -points[..., 2]
    safe = depth.clamp(min=1e-6)
    seen_u = k_source[0, 0] * points[..., 0] / safe + k_source[0, 2]
    seen_v = k_source[1, 2] - k_source[1, 1] * points[..., 1] / safe
    z = 2 * (depth - near) / (far - near) - 1
    found = torch.stack([2 * seen_u / width - 1, 2 * seen_v / height - 1, z], dim=-1)
    inside = (found.abs() <= 1).all(-1) & (depth > 1e-6)
    return found.clamp(-2, 2).float(), inside


def _pose(meta: Mapping[str, Any]) -> np.ndarray:
    """Camera to world; of a mirrored picture, in the mirrored world."""
    pose = np.asarray(meta['pose'], np.float64)
    if meta.get('flip'):
        mirror = np.diag([-1.0, 1.0, 1.0, 1.0])
        pose = mirror @ pose @ mirror
    return pose
