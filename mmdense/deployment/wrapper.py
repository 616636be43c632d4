"""The network as it leaves Python: picture in, maps out, nothing of the training left."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from mmdense.models.regularizers.train_only import train_only_children
from mmdense.structures import DenseDataSample
from mmdense.tasks import BaseTask
from mmdense.utils import ShapeError
from mmdense.utils.padding import padding_of

#: What an exported network returns: decoded maps, or predictions before decoding.
OUTPUTS = ('maps', 'logits')
Size = tuple[int, int]


class DeployedModel(nn.Module):
    """A :class:`~mmdense.models.DensePredictor` with its normalisation and decoding inside.

    Holds the modules of the model, not copies, without what only training needs
    (regularizers, balancer). Predictions have the size of the picture that comes in: the
    padding that the data preprocessor would add is added here and cut off again.

    Args:
        model (DensePredictor): Is put into ``eval`` mode.
        output (str): ``'maps'``: decoded by the tasks (labels of the type that their ground
            truth has, metres, unit vectors, probabilities). ``'logits'``: the predictions
            before decoding, as ``mode='tensor'`` of the model gives them.
        pad (bool): Whether pictures are padded to the preprocessor's rule. False: they come in
            a size that :meth:`fits`, which leaves their size free in an exported graph.

    Shape:
        - image: ``(B, 3, H, W)`` float32, RGB, grey levels 0..255.
        - output: task key to ``(B, D, H, W)``.

    Raises:
        TypeError: If the model is no ``DensePredictor``.
        ValueError: If ``output`` is unknown.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, output: str = 'maps', pad: bool = True) -> None:
        super().__init__()
        needed = ('tasks', 'data_preprocessor', 'predict_maps')
        if not all(hasattr(model, name) for name in needed):
            raise TypeError(
                f'DeployedModel: a {type(model).__name__} came, expected a DensePredictor. '
                'Give the model of an mmdense config.'
            )
        if output not in OUTPUTS:
            raise ValueError(f"DeployedModel: output is {output!r}; choose 'maps' or 'logits'.")
        preprocessor: Any = model.data_preprocessor
        model.eval()
        self.network = inference_part(model)
        self.tasks: dict[str, BaseTask] = self.network.tasks
        self.output = output
        self.pad = pad
        self.target_size = preprocessor.target_size
        self.pad_mode: str = preprocessor.pad_mode
        # Copies: the preprocessor goes on in its own place.
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer('mean', preprocessor.mean.detach().clone(), persistent=False)
        self.register_buffer('std', preprocessor.std.detach().clone(), persistent=False)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Normalise, predict, decode."""
        inputs = (image - self.mean) / self.std
        if not self.pad:
            return self._decode(self.network.predict_maps(inputs))
        height, width = image.shape[-2:]
        left, right, top, bottom = padding_of(
            (height, width), self.target_size([(height, width)]), self.pad_mode
        )
        if not any((left, right, top, bottom)):
            return self._decode(self.network.predict_maps(inputs))
        inputs = F.pad(inputs, (left, right, top, bottom))
        # One sample stands for all pictures: they have one size, and so one padding.
        sample = DenseDataSample(metainfo=dict(padding_size=(left, right, top, bottom)))
        maps = self.network.predict_maps(inputs, [sample])
        rows, columns = slice(top, top + height), slice(left, left + width)
        return self._decode({key: pred[..., rows, columns] for key, pred in maps.items()})

    def _decode(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        if self.output == 'logits':
            return maps
        return {key: _as_map(self.tasks[key], pred) for key, pred in maps.items()}


def _as_map(task: BaseTask, pred: Tensor) -> Tensor:
    value = task.decode(pred)
    if value.is_floating_point():
        return value.float()
    # argmax gives int64, eight times the bytes of the labels that people store.
    return value.to(task.to_tensor(task.empty((1, 1))).dtype)


def inference_part(model: nn.Module) -> Any:
    """A view of a model without its children that only train; the weights are shared.

    Args:
        model (nn.Module): Stays as it is.
    """
    view = copy.copy(model)
    dropped = {*train_only_children(model), 'balancer', 'data_preprocessor'}
    view._modules = {name: child for name, child in model._modules.items() if name not in dropped}
    # Hooks of regularizers are bound to the whole model.
    view._forward_hooks = type(model._forward_hooks)()
    view._forward_pre_hooks = type(model._forward_pre_hooks)()
    return view


def size_rule(model: Any) -> tuple[int, int]:
    """Step and remainder of the heights and widths that a network takes without padding.

    Args:
        model (DensePredictor): Its preprocessor says what it wants; without a wish, sides are
            multiples of the coarsest stride of its backbone, so that all scales fit.

    Returns:
        tuple[int, int]: Sides are ``n * step + remainder``.
    """
    preprocessor = model.data_preprocessor
    strides: Sequence[int] = getattr(model.backbone, 'strides', None) or (32,)
    remainder = int(preprocessor.size_remainder)
    step = math.lcm(int(preprocessor.size_divisor), *(int(stride) for stride in strides))
    return step, remainder


def require_fit(size: Size, rule: tuple[int, int], where: str) -> None:
    """Raise unless both sides follow the rule.

    Raises:
        ShapeError: Names the nearest sizes that do.
    """
    step, remainder = rule
    if all(side >= step and (side - remainder) % step == 0 for side in size):
        return
    near = tuple(max(1, round((side - remainder) / step)) * step + remainder for side in size)
    raise ShapeError(
        f'{where}: the size {size[0]}x{size[1]} came; sides must be n * {step} + {remainder} for '
        f'a graph of free size. Take {near[0]}x{near[1]}, or fix the size.'
    )
