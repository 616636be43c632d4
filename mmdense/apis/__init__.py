"""What people call from their own code: models, measurements, published files.

>>> from mmdense.apis import DenseInferencer, init_model
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmdense.utils.config_names import resolve_config

    from .inferencer import DenseInferencer
    from .init import inference_model, init_model
    from .results import Prediction
    from .savers import save_maps

# Looked up when first asked for: tools that only measure data need no model.
_HOMES = {
    'DenseInferencer': '.inferencer',
    'Prediction': '.results',
    'inference_model': '.init',
    'init_model': '.init',
    'resolve_config': 'mmdense.utils.config_names',
    'save_maps': '.savers',
}

__all__ = [
    'DenseInferencer',
    'Prediction',
    'inference_model',
    'init_model',
    'resolve_config',
    'save_maps',
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
