"""Folding of batch norms into the layers before them, for inference."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

ModuleT = TypeVar('ModuleT', bound=nn.Module)


def fold_batch_norms(model: ModuleT) -> ModuleT:
    """Fold every batch norm that directly follows a convolution or linear layer, in place.

    Calls ``fold_batch_norm()`` of each submodule that has it (``ConvNorm``, ``LinearNorm``,
    ``ResNet``). Batch norms without such a layer before them stay. The result predicts the
    same up to rounding and can no longer be trained or loaded from a training checkpoint.

    Args:
        model (nn.Module): A model in eval mode.

    Returns:
        nn.Module: The same object.

    Raises:
        ValueError: If the model is in training mode.
    """
    if model.training:
        raise ValueError(
            f'fold_batch_norms: {type(model).__name__} is in training mode. Call `.eval()` first; '
            'folding uses the running statistics.'
        )
    for module in list(model.modules()):
        fold = getattr(module, 'fold_batch_norm', None)
        if callable(fold):
            fold()
    return model
