"""The 3D-aware regularizer: planes, rays, and the losses of what they render."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mmdense.registry import MODELS
from mmdense.utils import ShapeError

from .base import AuxiliaryMaps, FeatureRegularizer
from .encoder import PLANE_ACTS, TriplaneEncoder
from .field import DENSITIES, FIELDS, TriplaneField
from .functional import RayDetails, plane_names
from .functional.geometry import check_choice
from .renderer import Rendering, TriplaneRenderer
from .second_view import SecondView

DEPTH_SOURCES = ('head', 'expected_z')
_WORDS = dict(
    field=FIELDS, density=DENSITIES, depth_from=DEPTH_SOURCES, plane_act=PLANE_ACTS
)  # fmt: skip


@MODELS.register_module()
class TriplaneRegularizer(FeatureRegularizer):
    """A 3D-structured auxiliary branch: tasks rendered from three feature planes.

    "Multi-Task Learning with 3D-Aware Regularization", Li, McDonagh, Leonardis and Bilen
    (ICLR 2024): the shared features become the planes xy, yz and xz; an MLP per task turns a
    point's feature into a task vector and a density; rays straight along z integrate them on
    a grid of one eighth of the picture; the render gets the task's own losses. The depth
    axis has no unit, and no camera enters: this is no metric reconstruction.

    Where the paper is silent: planes are summed; density is per task; both passes of 64
    depths are merged; the weight is ``alpha * lambda_t``; depth is rendered like any task.

    Args:
        tasks: See :class:`FeatureRegularizer`.
        channels (int): Channels of a plane.
        hidden (int): Hidden units of the MLPs.
        mid_channels (int): See :class:`TriplaneEncoder`.
        dropout (float): See :class:`TriplaneEncoder`.
        dropout_each (bool): See :class:`TriplaneEncoder`.
        plane_act (str): See :class:`TriplaneEncoder`.
        norm_cfg (dict | None): See :class:`TriplaneEncoder`.
        render_stride (int): Pixels of the input per ray, in each direction (rounded up).
        plane_stride (int | None): Pixels per cell of a plane. None: ``render_stride``.
        planes (Sequence[str]): Planes; ``('xy',)`` is a branch without a third dimension.
        field (str): See :class:`TriplaneField`; ``'pixel_aligned'`` takes one plane, xy.
        density (str): See :class:`TriplaneField`.
        depth_from (str): ``'head'``: depth is an output of its MLP. ``'expected_z'``: a
            learned scale and shift of its ray's expected depth.
        coarse (int): See :class:`TriplaneRenderer`, as for what follows.
        fine (int): Depths of the second pass.
        z_range (tuple[float, float]): Near and far.
        jitter (str): How depths are drawn.
        importance (str): Whose weights the second pass follows.
        rule (str): Of the integral.
        closure (str): Of the integral.
        padding (str): Outside the planes.
        plane_layout (str | None): Planes as one word, instead of ``planes``.
        aggregation (str): Of the planes.
        backend (str): Form of the render.
        chunk_mib (float | None): Working memory.
        table_dtype (str): Of what is kept.
        ray_patch (float): Share of the rays that a step renders, in (0, 1]: a random window
            of the grid, compared with the same window of the ground truth.
        views (int): 2: rays of the other camera of a pair (``pair_id``, ``view``,
            ``intrinsics``, ``pose`` in the meta information, as
            :class:`~mmdense.datasets.RoomsDataset` with ``views='both'`` gives them) are
            rendered from a picture's planes too, and compared with the other's ground truth.
            Both pictures have to be in one batch; without a pair the loss is 0.
        z_metres (tuple[float, float] | None): Depths at near and far, which ``views=2`` needs.
        second_weight (float): Factor on ``alpha`` for the other view.
        second_tasks (Sequence[str] | None): Tasks of the other view. None: those whose values
            do not depend on the camera.
        kwargs: Of :class:`FeatureRegularizer`.

    Raises:
        ValueError: If a number is out of range or a word unknown.
    """

    default_name = 'triplane'
    encoder: TriplaneEncoder
    field: TriplaneField

    def __init__(
        self,
        tasks: Any,
        channels: int = 64,
        hidden: int = 64,
        mid_channels: int = 64,
        dropout: float = 0.15,
        dropout_each: bool = False,
        plane_act: str = 'relu',
        norm_cfg: dict[str, Any] | None = None,
        render_stride: int = 8,
        plane_stride: int | None = None,
        planes: Sequence[str] = ('xy', 'yz', 'xz'),
        field: str = 'triplane',
        density: str = 'per_task',
        depth_from: str = 'head',
        coarse: int = 64,
        fine: int = 64,
        z_range: tuple[float, float] = (-1.0, 1.0),
        jitter: str = 'per_image',
        importance: str = 'per_task',
        rule: str = 'midpoint',
        closure: str = 'none',
        padding: str = 'border',
        plane_layout: str | None = None,
        aggregation: str = 'sum',
        backend: str = 'auto',
        chunk_mib: float | None = None,
        table_dtype: str = 'fp32',
        ray_patch: float = 1.0,
        views: int = 1,
        z_metres: tuple[float, float] | None = None,
        second_weight: float = 1.0,
        second_tasks: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(tasks, **kwargs)
        self._check_words(field=field, density=density, depth_from=depth_from, plane_act=plane_act)
        self._check_numbers(render_stride, plane_stride, ray_patch, dropout)
        if field == 'pixel_aligned':
            planes = ('xy',)
        layout = plane_layout or '_'.join(planes)
        self.plane_names = plane_names(layout)
        self.render_stride, self.plane_stride = render_stride, plane_stride or render_stride
        self.ray_patch, self.depth_from = ray_patch, depth_from
        self._encoder: dict[str, Any] = dict(
            channels=channels, mid_channels=mid_channels, num_planes=len(self.plane_names),
            plane_act=plane_act, dropout=dropout, dropout_each=dropout_each, norm_cfg=norm_cfg,
        )  # fmt: skip
        counts = {k: 0 if self._is_expected(k) else t.num_channels for k, t in self.tasks.items()}
        self._field: dict[str, Any] = dict(
            out_channels=counts, channels=channels, hidden=hidden, density=density, field=field
        )
        try:
            self.renderer = TriplaneRenderer(
                coarse, fine, z_range, jitter, importance, rule, closure, padding, layout,
                aggregation, backend, chunk_mib, table_dtype,
            )  # fmt: skip
        except ValueError as error:
            raise ValueError(f'{self.key("")}{error}') from error
        self.second: SecondView | None = None
        if views != 1:
            self.second = SecondView(
                self.key('views'), views, z_metres, second_weight, second_tasks, self.tasks
            )
        self.ready()

    def _check_words(self, **given: str) -> None:
        for name, value in given.items():
            check_choice(self.key(name), value, _WORDS[name])

    def _check_numbers(
        self, render_stride: int, plane_stride: int | None, ray_patch: float, dropout: float
    ) -> None:
        for name, stride in (('render_stride', render_stride), ('plane_stride', plane_stride)):
            if stride is not None and stride < 1:
                raise ValueError(f'{self.key(name)}={stride}; give a positive number of pixels.')
        if not 0 < ray_patch <= 1:
            raise ValueError(f'{self.key("ray_patch")}={ray_patch}; give a share in (0, 1].')
        if not 0 <= dropout < 1:
            raise ValueError(f'{self.key("dropout")}={dropout}; give a share in [0, 1).')

    def _is_expected(self, task: str) -> bool:
        """Whether a task is read off the expected depth."""
        return task == 'depth' and self.depth_from == 'expected_z'

    def build(self, in_channels: tuple[int, ...]) -> None:
        self.encoder = TriplaneEncoder(in_channels, **self._encoder)
        self.field = TriplaneField(**self._field)
        if any(map(self._is_expected, self.tasks)):
            task = self.tasks['depth']
            self.depth_scale = nn.Parameter(torch.ones(()))
            self.depth_shift = nn.Parameter(torch.tensor(float(task.initial_bias)))

    def predict(
        self,
        maps: tuple[Tensor, ...],
        image_size: tuple[int, int],
        generator: torch.Generator | None,
    ) -> AuxiliaryMaps:
        if self.renderer.fine and self.field.density_is_frozen():
            raise ValueError(
                f'{self.key("fine")}={self.renderer.fine} with a frozen density: depths would '
                'follow weights that nothing trains. Set fine=0, or train the density.'
            )
        planes = self.encoder(maps, _grid(image_size, self.plane_stride), generator)
        size = _grid(image_size, self.render_stride)
        window = self._window(size, image_size, generator)
        found = self.renderer(planes, self.field, size, generator, window)
        box = None
        if window is not None:
            top, left, height, width = (n * self.render_stride for n in window)
            box = (top, left, height, width)
        return AuxiliaryMaps(self._logits(found), box, planes)

    def further(
        self,
        found: AuxiliaryMaps,
        data_samples: Sequence[Any],
        image_size: tuple[int, int],
        generator: torch.Generator | None,
    ) -> Iterator[tuple[str, str, Tensor, Sequence[int], float]]:
        if self.second is not None:
            size = _grid(image_size, self.render_stride)
            yield from self.second.predictions(
                self.renderer, self.field, found.state, data_samples, size, image_size, generator
            )

    def _logits(self, found: Rendering) -> dict[str, Tensor]:
        """Rendered maps, and depth from its rays if so configured."""
        logits = dict(found.maps)
        for key in filter(self._is_expected, logits):
            depth = found.details[key].depth.unflatten(-1, logits[key].shape[-2:])
            logits[key] = self.depth_scale.float() * depth[:, None] + self.depth_shift.float()
        return logits

    def _window(
        self,
        size: tuple[int, int],
        image_size: tuple[int, int],
        generator: torch.Generator | None,
    ) -> tuple[int, int, int, int] | None:
        """A random part of the grid, or None for all of it."""
        if self.ray_patch == 1 or not self.training:
            return None
        if any(n * self.render_stride != pixels for n, pixels in zip(size, image_size)):
            raise ShapeError(
                f'{self.key("ray_patch")}={self.ray_patch}: an input of {image_size} is no '
                f'multiple of render_stride={self.render_stride}, so that windows of the grid '
                'are no windows of the picture. Pad to a multiple, or set ray_patch=1.'
            )
        side = math.sqrt(self.ray_patch)
        part = [max(1, round(n * side)) for n in size]
        if generator is not None:  # on the host: a number from the device would be waited for
            generator = torch.Generator().manual_seed(generator.initial_seed())
        draws = torch.rand(2, generator=generator).tolist()
        starts = [int(draw * (n - own + 1)) for draw, n, own in zip(draws, size, part)]
        return starts[0], starts[1], part[0], part[1]

    def blame(self, maps: tuple[Tensor, ...], found: AuxiliaryMaps, task: str) -> str:
        """Map of the host, planes, density or output."""
        for index, value in enumerate(maps):
            if not value.isfinite().all():
                return f'map {index} of {self.feature!r}'
        if not found.state.isfinite().all():
            return 'planes'
        mlp = self.field.density_mlp(task)
        if not all(value.isfinite().all() for value in mlp.density_parameters()):
            return 'density'
        return 'output' if not found.logits[task].isfinite().all() else 'loss'

    @torch.no_grad()
    def explain(self, features: Any, image_size: tuple[int, int]) -> Explanation:
        """What the branch sees, with depths at the middles of their bins.

        Args:
            features (Any): What the tapped submodule gave, in evaluation mode.
            image_size (tuple[int, int]): Height and width of the input.
        """
        training = self.training
        self.eval()
        try:
            maps = self.select(features)
            planes = self.encoder(maps, _grid(image_size, self.plane_stride))
            size = _grid(image_size, self.render_stride)
            found = self.renderer(planes, self.field, size, details=True)
        finally:
            self.train(training)
        return Explanation(self._logits(found), found.details, planes, size)


class Explanation(NamedTuple):
    """What :meth:`TriplaneRegularizer.explain` shows.

    Attributes:
        logits (dict): Task to its rendered map ``(B, C_t, H, W)``.
        details (dict): Task to depths, weights, opacity and expected depth of its rays.
        planes (Tensor): ``(B, P, C, Hp, Wp)``.
        size (tuple[int, int]): The grid (H, W).
    """

    logits: dict[str, Tensor]
    details: dict[str, RayDetails]
    planes: Tensor
    size: tuple[int, int]


def _grid(image_size: tuple[int, int], stride: int) -> tuple[int, int]:
    """Cells of so many pixels, rounded up."""
    height, width = (-(-pixels // stride) for pixels in image_size)
    return height, width
