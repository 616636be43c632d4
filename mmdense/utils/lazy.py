"""One helper for every optional import."""

import importlib
from types import ModuleType

from .errors import MissingDependencyError


def require(module: str, asked_by: str, install: str) -> ModuleType:
    """Import an optional module, or say who needs it and how to get it.

    Args:
        module (str): Dotted name, for example ``'mmcv.ops'``.
        asked_by (str): The part and config key that needs it.
        install (str): The command that installs it.

    Raises:
        MissingDependencyError: If the import fails for any reason. A CUDA build
            of torchvision beside a CPU build of torch raises ``RuntimeError``
            or ``OSError`` rather than ``ImportError``, so these count too.
    """
    try:
        return importlib.import_module(module)
    except (ImportError, RuntimeError, OSError) as error:
        raise MissingDependencyError(
            f'{asked_by} needs `{module}`, which does not load here '
            f'({type(error).__name__}: {error}). Install it with `{install}`, or run '
            '`python tools/doctor.py` to see what works.'
        ) from error
