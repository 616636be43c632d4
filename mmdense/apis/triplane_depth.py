"""What the third axis of a triplane regularizer has to do with depth: rank correlations.

The axis has no unit and no fixed direction, so ranks are compared: Spearman's coefficient of the
expected depth of the rays (samples at the middles of their bins, dropout off) with true depth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from scipy.stats import spearmanr
from torch import Tensor, nn

from mmdense.models.losses.functional import resize
from mmdense.models.regularizers import TriplaneRegularizer
from mmdense.models.regularizers.attach import feature_of
from mmdense.models.regularizers.train_only import is_train_only
from mmdense.utils import suggest
from mmdense.utils.checkpoints import require_checkpoint
from mmdense.utils.config_check import ConfigError

from .model_parts import build_model

#: The mean over tasks of their rays' expected depths.
MEAN = 'mean'
#: Control: the height of a pixel in the picture, which tells much of the depth of a room.
ROW = 'row'


@dataclass(frozen=True)
class Correlation:
    """Spearman's coefficient of one map with true depth, over a data set.

    Attributes:
        per_picture (float): Mean over pictures of the coefficient within a picture.
        spread (float): Its standard deviation over pictures (n - 1); NaN for one picture.
        pooled (float): Of the pixels of all pictures together.
        pictures (int): Pictures that count: with at least two known depths, and not constant.
        opacity (float): Mean opacity of the rays; NaN for maps without rays.
    """

    per_picture: float
    spread: float
    pooled: float
    pictures: int
    opacity: float


class _Collector:
    """Pairs of one map with true depth, picture by picture."""

    def __init__(self) -> None:
        self.coefficients: list[float] = []
        self.values: list[np.ndarray] = []
        self.truths: list[np.ndarray] = []
        self.opacities: list[float] = []

    def add(self, value: np.ndarray, truth: np.ndarray, most: int) -> None:
        """A picture's values at known depths, of which at most ``most`` are pooled."""
        coefficient = spearman(value, truth)
        if not np.isnan(coefficient):
            self.coefficients.append(coefficient)
        if len(truth) > most:  # evenly over the picture
            chosen = np.linspace(0, len(truth) - 1, most).round().astype(np.int64)
            value, truth = value[chosen], truth[chosen]
        self.values.append(value)
        self.truths.append(truth)

    def result(self) -> Correlation:
        each = self.coefficients
        values, truths = (np.concatenate(v or [np.empty(0)]) for v in (self.values, self.truths))
        return Correlation(
            per_picture=mean_and_spread(each)[0],
            spread=mean_and_spread(each)[1],
            pooled=spearman(values, truths),
            pictures=len(each),
            opacity=mean_and_spread(self.opacities)[0],
        )


def spearman(first: np.ndarray, other: np.ndarray) -> float:
    """Spearman's rank correlation, ties at their mean rank; NaN where it is not defined.

    Example:
        >>> round(spearman(np.array([1.0, 2.0, 9.0]), np.array([5.0, 4.0, 1.0])), 6)
        -1.0
    """
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(other) == 0:
        return float('nan')
    return float(spearmanr(first, other).statistic)


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation (n - 1); NaN where there are too few values."""
    mean = float(np.mean(values)) if values else float('nan')
    return mean, float(np.std(values, ddof=1)) if len(values) > 1 else float('nan')


def depth_correlations(
    model: Any,
    batches: Iterable[Mapping[str, Any]],
    truth: str = 'depth',
    regularizer: str | None = None,
    pooled_pixels: int = 4096,
) -> dict[str, Correlation]:
    """Correlate expected depths with true depth over batches of a data loader.

    A ray's expected depth becomes a map as its render does: bilinearly resized to the input; then
    padding is cut, and the rest resized to the ground truth, as predictions are. All pixels of
    known depth count within a picture; at most ``pooled_pixels`` of them, evenly spaced, pooled.

    Args:
        model (DensePredictor): With a triplane regularizer and a depth task.
        batches (Iterable): What its data preprocessor takes, with ground truth.
        truth (str): Key of the depth task.
        regularizer (str | None): Name of the regularizer; None: the only one.
        pooled_pixels (int): Most pixels of a picture that are pooled.

    Returns:
        dict[str, Correlation]: Of every task's density, of :data:`MEAN` and of :data:`ROW`.

    Raises:
        ConfigError: If the model lacks such a regularizer or task.
    """
    branch = _branch_of(model, regularizer)
    if truth not in model.tasks:
        raise ConfigError(f'No true depth to compare with. {suggest(truth, model.tasks)}')
    task = model.tasks[truth]
    found = {name: _Collector() for name in (*branch.tasks, MEAN, ROW)}
    for batch in batches:
        data = model.data_preprocessor(batch, False)
        inputs = data['inputs']
        depths, opacities = _expected(model, branch, inputs)
        for index, sample in enumerate(data['data_samples']):
            gt = sample.gt(task)
            if gt is None:
                continue
            known = task.valid_mask(gt[None])[0, 0].cpu().numpy()
            height, width = known.shape
            maps = _native(depths[index], inputs.shape[-2:], sample.metainfo, (height, width))
            rows = np.broadcast_to(-np.arange(height, dtype=np.float32)[:, None], known.shape)
            for name, value in zip(found, (*maps, maps.mean(0), rows)):
                found[name].add(value[known], gt[0].cpu().numpy()[known], pooled_pixels)
            for name, value in zip(branch.tasks, opacities[index].tolist()):
                found[name].opacities.append(value)
    return {name: collector.result() for name, collector in found.items()}


def _expected(
    model: nn.Module, branch: TriplaneRegularizer, inputs: Tensor
) -> tuple[Tensor, Tensor]:
    """Expected depths ``(B, T, h, w)`` on the grid, and mean opacities ``(B, T)``."""
    size = (inputs.shape[-2], inputs.shape[-1])
    seen = branch.explain(feature_of(model, branch.feature, inputs), size)
    details = [seen.details[name] for name in branch.tasks]
    depth = torch.stack([d.depth for d in details], dim=1).unflatten(-1, seen.size)
    return depth, torch.stack([d.opacity.mean(-1) for d in details], dim=1)


def _native(
    depths: Tensor, input_size: Sequence[int], meta: Mapping[str, Any], size: tuple[int, int]
) -> np.ndarray:
    """Maps ``(T, h, w)`` of the grid at the size of the ground truth."""
    maps = resize(depths[None], (input_size[0], input_size[1]), align_corners=False)
    if tuple(input_size) != size:
        left, right, top, bottom = meta.get('padding_size', (0, 0, 0, 0))
        maps = maps[..., top : input_size[0] - bottom, left : input_size[1] - right]
        maps = resize(maps, size, align_corners=False)
    native: np.ndarray = maps[0].cpu().numpy()
    return native


def _branch_of(model: nn.Module, name: str | None) -> TriplaneRegularizer:
    branches = {m.name: m for m in model.children() if isinstance(m, TriplaneRegularizer)}
    if not branches:
        raise ConfigError(
            'The model of this config has no triplane regularizer: give a config with '
            "model.regularizers=dict(triplane=dict(type='TriplaneRegularizer', ...))."
        )
    if name is None and len(branches) > 1:
        raise ConfigError(f'The model has several: name one of {", ".join(branches)}.')
    if name is not None and name not in branches:
        raise ConfigError(f'regularizer {name!r}: {suggest(name, branches)}')
    return branches[name] if name is not None else next(iter(branches.values()))


def load_trained(cfg: Config, checkpoint: str, device: str) -> nn.Module:
    """The model of a config with the weights of a training, its regularizers' included.

    Raises:
        ConfigError: If the file is missing, does not fit, or is without such weights.
    """
    require_checkpoint(checkpoint, 'CHECKPOINT')
    model = build_model(cfg, device).eval()
    # mmengine stores classes of its own beside the weights; the file is the caller's.
    stored = torch.load(checkpoint, map_location=device, weights_only=False)
    weights = stored.get('state_dict', stored)
    if not any(map(is_train_only, weights)):
        raise ConfigError(
            f'{checkpoint} holds no weights of a regularizer: a published file is without them. '
            'Give the checkpoint of the training, work_dirs/.../iter_N.pth.'
        )
    try:
        model.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        raise ConfigError(f'{checkpoint} does not fit the config: {error}') from error
    return model


def measure_checkpoint(
    cfg: Config,
    checkpoint: str,
    device: str = 'cpu',
    split: str = 'val',
    track: Callable[[Any], Iterable[Any]] = iter,
    **options: Any,
) -> dict[str, Correlation]:
    """:func:`depth_correlations` of a checkpoint on a split of its config's data.

    Args:
        cfg (Config): With the regularizer and ``<split>_dataloader``.
        checkpoint (str): Of the training.
        device (str): Where to run.
        split (str): ``'val'`` or ``'test'``.
        track (Callable): From the loader to its batches, such as a progress bar.
        options (Any): Of :func:`depth_correlations`.
    """
    init_default_scope(cfg.get('default_scope', 'mmdense'))
    model = load_trained(cfg, checkpoint, device)
    loader = Runner.build_dataloader(cfg[f'{split}_dataloader'], seed=0)
    return depth_correlations(model, track(loader), **options)


def over_seeds(runs: Sequence[Mapping[str, Correlation]]) -> dict[str, dict[str, list[float]]]:
    """Mean and standard deviation (n - 1; NaN for one run) over runs.

    Returns:
        dict: Map to figure (``'per_picture'``, ``'pooled'``, ``'opacity'``) to both.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for name in runs[0]:
        found[name] = {}
        for figure in ('per_picture', 'pooled', 'opacity'):
            values = [getattr(run[name], figure) for run in runs]
            found[name][figure] = list(mean_and_spread(values))
    return found
