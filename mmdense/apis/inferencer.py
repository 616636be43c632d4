"""Pictures in, typed maps out."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.infer import BaseInferencer
from mmengine.logging import print_log
from rich.progress import track
from torch import Tensor, nn

from mmdense.models.predictors.looks import Looks
from mmdense.registry import INFERENCERS
from mmdense.structures import DenseDataSample, DenseMap
from mmdense.utils import DataError, suggest
from mmdense.visualization.panels import resize_tile, tile_grid, write_label

from .init import ConfigLike, init_model
from .input_pipeline import MAX_PIXELS, InputPipeline
from .inputs import Source, camera_matrix, count_inputs, expand_inputs
from .raw_maps import raw_maps
from .results import Prediction
from .savers import DEFAULT_FORMATS, check_formats, save_maps

Array = np.ndarray


@dataclass(frozen=True)
class Options:
    """Everything a call of :class:`DenseInferencer` can be told; see there."""

    batch_size: int = 1
    on_error: str = 'raise'
    intrinsics: Any = None
    mode: str | None = None
    crop_size: tuple[int, int] | None = None
    stride: tuple[int, int] | None = None
    flip: bool | None = None
    return_raw: bool = False
    return_panel: bool = False
    out_dir: str | Path | None = None
    formats: Iterable[str] = DEFAULT_FORMATS

    def __post_init__(self) -> None:
        if self.on_error not in ('raise', 'skip'):
            raise ValueError(f"on_error is {self.on_error!r}; choose 'raise' or 'skip'.")
        if self.batch_size < 1:
            raise ValueError(f'batch_size is {self.batch_size}; it must be 1 or more.')
        object.__setattr__(self, 'formats', check_formats(self.formats))

    @property
    def panels(self) -> bool:
        """Whether panels are drawn."""
        return self.return_panel or (self.out_dir is not None and 'panel' in self.formats)

    @property
    def test_cfg(self) -> dict[str, Any]:
        """What the model is to do otherwise than its own ``test_cfg``."""
        given = dict(mode=self.mode, crop_size=self.crop_size, stride=self.stride, flip=self.flip)
        return {key: value for key, value in given.items() if value is not None}


@dataclass
class _Prepared:
    """A picture that was read, or refused."""

    found: Prediction
    stem: str
    packed: dict[str, Any] | None = None


@INFERENCERS.register_module()
class DenseInferencer(BaseInferencer):
    """Every dense map of pictures, typed.

    ::

        inferencer = DenseInferencer('config-name-or-path', 'checkpoint.pth')
        maps = inferencer('kitchen.jpg')['predictions'][0]
        maps['depth'].value, maps['depth'].unit, maps['depth'].valid

    Args:
        model (str | Path | Mapping | Config | nn.Module | None): Config by path or name, or the
            model of :func:`~mmdense.apis.init_model`. None: the config that ``weights`` holds.
        weights (str | Path | None): Checkpoint.
        device (str | None): None: a GPU where there is one.
        scope (str | None): Registry scope. None: mmdense's.
        show_progress (bool): Whether calls draw a progress bar.
        max_pixels (int | None): Larger pictures are shrunk for the network, unless windows slide
            over them; see :class:`~mmdense.apis.input_pipeline.InputPipeline`.
        cfg_options (Mapping | None): Key paths to values that override the config.

    Raises:
        ConfigError: If config or checkpoint is missing or wrong.
    """

    preprocess_kwargs = {'batch_size', 'on_error', 'intrinsics'}
    forward_kwargs = {'mode', 'crop_size', 'stride', 'flip', 'return_raw'}
    visualize_kwargs = {'return_panel'}
    postprocess_kwargs = {'out_dir', 'formats'}

    def __init__(
        self,
        model: ConfigLike | nn.Module | None = None,
        weights: str | Path | None = None,
        device: str | None = None,
        scope: str | None = 'mmdense',
        show_progress: bool = True,
        max_pixels: int | None = MAX_PIXELS,
        cfg_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.max_pixels = max_pixels
        if device is None:
            device = 'cuda' if torch.cuda.is_available() else 'cpu'
        self._built: Any = model
        if not isinstance(model, nn.Module):
            self._built = init_model(model, weights, device, cfg_options)
        cfg = getattr(self._built, 'cfg', None) or Config(dict(default_scope='mmdense'))
        super().__init__(cfg, None, device, scope, show_progress)

    # -- what mmengine's inferencer asks for -----------------------------------

    def _init_model(self, cfg: Any, weights: str | None, device: str = 'cpu') -> nn.Module:
        return self._built.eval()

    def _init_pipeline(self, cfg: Any) -> InputPipeline:
        preprocessor = self._built.data_preprocessor
        frame = getattr(preprocessor, 'size', None)
        return InputPipeline(cfg, self._built.tasks, frame, self.max_pixels)

    def _init_collate(self, cfg: Any) -> Callable[..., Any]:
        return list  # pictures go to the preprocessor as they are

    def _init_visualizer(self, cfg: Any) -> None:
        """None: panels are drawn from the maps themselves."""

    # -- calls -----------------------------------------------------------------

    def __call__(self, inputs: Any, batch_size: int = 1, **kwargs: Any) -> dict[str, Any]:
        """Predict, and hold all results; :meth:`stream` holds one batch.

        Args:
            inputs (Any): See :func:`~mmdense.apis.inputs.expand_inputs`.
            batch_size (int): Pictures that are run together if they are of one size. Results do
                not depend on it.
            on_error (str): What a picture that cannot be read does: ``'raise'`` (the default), or
                ``'skip'``: it is refused by one line and the others go on.
            intrinsics (Any): ``(fx, fy, cx, cy)`` or ``(3, 3)`` of all pictures that bring none.
            mode, crop_size, stride, flip: As ``test_cfg`` of
                :class:`~mmdense.models.DensePredictor`: ``mode='slide'`` looks through windows of
                ``crop_size`` (None: the model's fixed size), ``flip=True`` at the mirror image
                too.
            return_raw (bool): Whether ``raw`` holds what the network says before decoding.
            return_panel (bool): Whether ``visualization`` holds pictures of all maps.
            out_dir (str | Path | None): Where files are written.
            formats (Iterable[str]): Which; see :data:`~mmdense.apis.savers.FORMATS`.
            **kwargs: The options above, by name.

        Returns:
            dict: Lists with an entry per picture: ``predictions``, task key to
            :class:`~mmdense.structures.DenseMap` (None: refused), ``names``, ``visualization``,
            ``raw``, ``files``; and ``errors``, name to the reason it was refused.

        Raises:
            DataError: If a picture cannot be read and ``on_error='raise'``, or ``inputs`` as a
                whole stands for no picture.
            ValueError: If an option is unknown or wrong.
        """
        found: Iterable[Prediction] = self.stream(inputs, batch_size=batch_size, **kwargs)
        if self.show_progress:
            found = track(found, description='Inference', total=count_inputs(inputs))
        results = []
        for item in found:
            item.image = None  # the caller has it
            results.append(item)
        return self.postprocess(results, self.visualize([], results))

    def stream(self, inputs: Any, **kwargs: Any) -> Iterator[Prediction]:
        """Predict one batch at a time, in order; what was yielded is not kept.

        Args:
            inputs (Any): As of a call; a generator is read as it is needed.
            **kwargs: As of a call.

        Yields:
            Prediction: Of each picture, with its files written.

        Raises:
            DataError, ValueError: As a call.
        """
        self._refuse_unknown(kwargs)
        options = Options(**kwargs)
        with self._looks(options):
            for chunk in _chunks(self._read_ahead(expand_inputs(inputs), options), options):
                self._run(chunk, options)
                for item in chunk:
                    self._save(item, options)
                    yield item.found

    def visualize(self, inputs: list[Any], preds: Any, **kwargs: Any) -> list[Array | None]:
        """Panels of predictions, where they were asked for."""
        return [item.panel for item in preds]

    def postprocess(
        self, preds: Any, visualization: Any, return_datasample: bool = False, **kwargs: Any
    ) -> dict[str, Any]:
        """What a call returns."""
        return dict(
            predictions=[item.maps for item in preds],
            visualization=visualization,
            names=[item.name for item in preds],
            raw=[item.raw for item in preds],
            files=[item.files for item in preds],
            errors={item.name: item.error for item in preds if item.error is not None},
        )

    def _refuse_unknown(self, kwargs: Mapping[str, Any]) -> None:
        known = (
            self.preprocess_kwargs
            | self.forward_kwargs
            | self.visualize_kwargs
            | self.postprocess_kwargs
        )
        for name in kwargs:
            if name not in known:
                raise ValueError(f'DenseInferencer: option {name!r}. {suggest(name, known)}')

    # -- reading ---------------------------------------------------------------

    def _read_ahead(self, sources: Iterable[Source], options: Options) -> Iterator[_Prepared]:
        """Pictures in order, read by a thread while the model works on the ones before."""
        names: dict[str, int] = {}
        waiting: deque[Future[_Prepared]] = deque()
        default = None if options.intrinsics is None else camera_matrix(options.intrinsics)
        with ThreadPoolExecutor(max_workers=1) as reader:
            for index, source in enumerate(sources):
                stem = _unique(source.stem, names) if options.out_dir else source.stem
                waiting.append(reader.submit(self._read, source, index, stem, default, options))
                if len(waiting) > 2 * options.batch_size:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def _read(
        self, source: Source, index: int, stem: str, intrinsics: Array | None, options: Options
    ) -> _Prepared:
        found = Prediction(source.name, index)
        try:
            picture = source.read()
        except (DataError, OSError) as error:
            if options.on_error == 'raise':
                raise
            found.error = str(error)
            print_log(f'skipped: {error}', logger='current', level=logging.WARNING)
            return _Prepared(found, stem)
        found.image = picture
        found.intrinsics = intrinsics if source.intrinsics is None else source.intrinsics
        shrink = self.model.test_cfg['mode'] == 'whole'
        return _Prepared(found, stem, self.pipeline(picture, source.name, found.intrinsics, shrink))

    # -- predicting ------------------------------------------------------------

    @contextmanager
    def _looks(self, options: Options) -> Iterator[None]:
        """The model as the options want it to look at pictures, until the end."""
        kept, preprocessor = dict(self.model.test_cfg), self.model.data_preprocessor
        size = getattr(preprocessor, 'size', None)
        changes = options.test_cfg
        if changes.get('mode', kept['mode']) == 'slide':
            changes.setdefault('crop_size', kept['crop_size'] or self.pipeline.frame)
            if changes['crop_size'] is None:
                raise ValueError(
                    "DenseInferencer: mode='slide' needs crop_size=(height, width), since this "
                    'model has no fixed size of its own; take that of its training crops.'
                )
            preprocessor.size = None  # windows have the fixed size, pictures any
        looks = Looks.of({**kept, **changes})
        if options.return_raw and not looks.single:
            raise ValueError(
                'DenseInferencer: return_raw=True is for one look at the whole picture; several '
                "looks are averaged. Leave out mode='slide' and flip=True."
            )
        self.model.test_cfg.update(changes)
        try:
            yield
        finally:
            self.model.test_cfg.clear()
            self.model.test_cfg.update(kept)
            preprocessor.size = size

    def _run(self, chunk: list[_Prepared], options: Options) -> None:
        """Predict a chunk; pictures of one size go through the network together.

        Those of different sizes do not: padding them to a common size would make the maps of one
        depend on the others.
        """
        groups: dict[tuple[int, ...], list[_Prepared]] = {}
        for item in chunk:
            if item.packed is not None:
                groups.setdefault(tuple(item.packed['inputs'].shape), []).append(item)
        for group in groups.values():
            self.forward(group, options)

    @torch.inference_mode()
    def forward(self, inputs: list[_Prepared], options: Options, **kwargs: Any) -> None:  # type: ignore[override]
        """Predict pictures of one size, into themselves."""
        packed = [item.packed for item in inputs if item.packed is not None]
        batch = dict(
            inputs=[item['inputs'] for item in packed],
            data_samples=[item['data_samples'] for item in packed],
        )
        data = self.model.data_preprocessor(batch, False)
        raw: list[Any] = [None] * len(packed)
        if options.return_raw:
            samples, raw = raw_maps(self.model, **data)
        else:
            samples = self.model(**data, mode='predict')
        for item, sample, said in zip(inputs, samples, raw):
            item.found.maps = self._maps_of(sample)
            item.found.raw = said
            item.packed = None
            if options.panels:
                item.found.panel = self.draw(item.found)

    def _maps_of(self, sample: DenseDataSample) -> dict[str, DenseMap]:
        maps = {}
        for key, task in self.model.tasks.items():
            predicted = sample.pred(task)
            maps[key] = DenseMap.of(task, _to_array(predicted, task.dtype))
        return maps

    def draw(self, found: Prediction, columns: int = 4) -> Array:
        """The picture and its maps side by side, uint8 RGB.

        Args:
            found (Prediction): With ``image`` and ``maps``.
            columns (int): Tiles in a row.
        """
        if found.image is None or found.maps is None:
            raise ValueError(f'{found.name}: there is no picture or no map to draw.')
        tasks = self.model.tasks
        size = _tile_size(found.image.shape[:2])
        tiles = [(resize_tile(found.image, size), 'image')]
        for key, item in found.maps.items():
            picture = resize_tile(tasks[key].colorize(item.value), size, nearest=True)
            tiles.append((picture, f'{key} [{item.unit}]' if item.unit else key))
        return _grid(tiles, columns)

    # -- writing ---------------------------------------------------------------

    def _save(self, item: _Prepared, options: Options) -> None:
        if options.out_dir is None or item.found.maps is None:
            return
        item.found.files = save_maps(
            item.found, options.out_dir, item.stem, self.model.tasks, options.formats
        )


def _chunks(items: Iterator[_Prepared], options: Options) -> Iterator[list[_Prepared]]:
    while chunk := list(islice(items, options.batch_size)):
        yield chunk


def _unique(stem: str, names: dict[str, int]) -> str:
    """The stem, with a number where another picture has it already."""
    unique = stem
    while unique in names:
        names[stem] += 1
        unique = f'{stem}_{names[stem]}'
    names[unique] = 0
    return unique


def _to_array(predicted: Tensor | None, dtype: type) -> Array:
    """A map ``(D, H, W)`` as ``(H, W)`` or ``(H, W, D)``; labels in the task's integers."""
    if predicted is None:
        raise ValueError('The model left a task without a prediction.')
    if not predicted.is_floating_point():
        array = predicted.to(torch.uint8 if dtype is np.uint8 else torch.int64).cpu().numpy()
    else:
        array = predicted.float().cpu().numpy()
    chosen: Array = array[0] if array.shape[0] == 1 else array.transpose(1, 2, 0)
    return np.ascontiguousarray(chosen)


def _tile_size(size: tuple[int, int]) -> tuple[int, int]:
    """Tiles 240 pixels high, less for very wide pictures; never too narrow for a title."""
    factor = min(240 / size[0], 640 / size[1])
    return max(round(size[0] * factor), 32), max(round(size[1] * factor), 96)


def _grid(tiles: list[tuple[Array, str]], columns: int) -> Array:
    titled = [np.concatenate([write_label(p.shape[1], title), p]) for p, title in tiles]
    return tile_grid([titled[i : i + columns] for i in range(0, len(titled), columns)])
