"""A model taken apart, each part with the input that it gets in a forward pass."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from mmdense.registry import MODELS
from mmdense.utils.config_check import ConfigError
from mmdense.utils.user_errors import places

_SIZE_KEYS = ('size', 'crop_size', 'image_size', 'img_size')


@dataclass(frozen=True)
class Part:
    """One part of a model.

    Args:
        name (str): ``'backbone'``, ``'neck.0'``, ``'head.depth'``, ...
        module (nn.Module): The part.
        forward (Callable): Runs it for inference on the input it was seen with.
        loss (Callable): Runs it as in training; returns a scalar to go backward from.
    """

    name: str
    module: nn.Module
    forward: Callable[[], Any]
    loss: Callable[[], Tensor]


def scope_of(cfg: Config) -> AbstractContextManager[None]:
    """The default scope of a config, for as long as something is built from it."""
    scope: AbstractContextManager[None] = DefaultScope.overwrite_default_scope(
        cfg.get('default_scope', 'mmdense')
    )
    return scope


def build_model(cfg: Config, device: torch.device | str) -> nn.Module:
    """The model of a config with random weights; pretrained ones change no measurement."""
    with scope_of(cfg), torch.device(device):
        model: nn.Module = MODELS.build(cfg.model)
    # What a part makes without naming a device, under `torch.device`, may still be elsewhere.
    return model if str(device) == 'meta' else model.to(device)


def deployed(cfg: Config) -> Config:
    """The config without what only training uses."""
    if not cfg.model.get('regularizers'):
        return cfg
    cfg = copy.deepcopy(cfg)
    cfg.model.pop('regularizers')
    return cfg


def input_size(cfg: Config) -> tuple[int, int]:
    """Height and width that a config trains with.

    Raises:
        ConfigError: If the config does not say.
    """
    preprocessor = cfg.model.get('data_preprocessor') or {}
    found = [preprocessor.get('size')]
    for path, value in places(cfg.get('train_dataloader', {})):
        if path.rsplit('.', 1)[-1] in _SIZE_KEYS:
            found.append(value)
    for value in found:
        if isinstance(value, (list, tuple)) and len(value) == 2:
            return int(value[0]), int(value[1])
    raise ConfigError('The config names no input size; give one with --shape HEIGHT WIDTH.')


def random_targets(model: Any, inputs: Tensor) -> dict[str, Tensor]:
    """Ground truth that every task accepts: the map that the untrained model predicts.

    Args:
        model (DensePredictor): With ``tasks``, ``heads`` and ``extract_feat``.
        inputs (Tensor): ``(B, 3, H, W)``.

    Returns:
        dict[str, Tensor]: Task key to ``(B, gt_channels, H, W)`` in the task's type.
    """
    targets = {}
    with torch.no_grad():
        for key, pred in model(inputs, mode='tensor').items():
            task = model.tasks[key]
            value = task.decode(pred).float()
            kind = task.to_tensor(task.empty((1, 1))).dtype
            targets[key] = (value if kind.is_floating_point else value.round()).to(kind)
    return targets


def parts_of(
    model: Any, inputs: Tensor, targets: Mapping[str, Tensor] | None = None
) -> Iterator[Part]:
    """Take a model apart, in the order of its forward pass.

    Args:
        model (DensePredictor): With ``backbone``, ``neck``, ``heads`` and ``extract_feat``;
            of another model nothing is yielded.
        inputs (Tensor): ``(B, 3, H, W)``, normalised.
        targets (Mapping | None): See :func:`random_targets`; without them, ``loss`` of
            heads cannot be called.
    """
    if not all(hasattr(model, name) for name in ('backbone', 'neck', 'heads', 'extract_feat')):
        return
    seen: dict[nn.Module, tuple[Any, ...]] = {}

    def remember(module: nn.Module, args: tuple[Any, ...]) -> None:
        seen[module] = args

    necks = list(model.neck)
    hooks = [part.register_forward_pre_hook(remember) for part in (model.backbone, *necks)]
    try:
        with torch.no_grad():
            feats = model.extract_feat(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    named = [('backbone', model.backbone), *((f'neck.{i}', neck) for i, neck in enumerate(necks))]
    for name, module in named:
        args = seen[module]
        yield Part(name, module, _call(module, args), _scalar(module, args))
    size = tuple(inputs.shape[-2:])
    for key, head in model.heads.items():
        target = None if targets is None else targets[key]
        task = model.tasks[key]
        yield Part(
            f'head.{key}',
            head,
            _call(head.predict, (feats, size)),
            _head_loss(head, task, feats, target),
        )


def _call(function: Callable[..., Any], args: tuple[Any, ...]) -> Callable[[], Any]:
    return lambda: function(*args)


def _scalar(module: nn.Module, args: tuple[Any, ...]) -> Callable[[], Tensor]:
    def loss() -> Tensor:
        outputs = module(*map(_fresh, args))
        return torch.stack([value.float().sum() for value in tensors_in(outputs)]).sum()

    return loss


def _head_loss(head: Any, task: Any, feats: Any, target: Tensor | None) -> Callable[[], Tensor]:
    def loss() -> Tensor:
        if target is None:
            raise ValueError('parts_of: the loss of a head needs `targets`.')
        losses = head.loss(_fresh(feats), target, task.valid_mask(target))
        named = [value for name, value in losses.items() if 'loss' in name.rsplit('.', 1)[-1]]
        return torch.stack(named).sum()

    return loss


def _fresh(value: Any) -> Any:
    """The same values as leaves that take gradients, as they come from the part before."""
    if isinstance(value, Tensor):
        return value.detach().requires_grad_(value.is_floating_point())
    if isinstance(value, (list, tuple)):
        return type(value)(_fresh(item) for item in value)
    if isinstance(value, dict):
        return {key: _fresh(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
        return dataclasses.replace(value, **{key: _fresh(item) for key, item in fields.items()})
    return value


def tensors_in(value: Any) -> Iterator[Tensor]:
    """All floating-point tensors of a nested value."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, dict):
        yield from tensors_in(list(value.values()))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from tensors_in([getattr(value, item.name) for item in dataclasses.fields(value)])
