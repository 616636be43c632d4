"""Exceptions of mmdense, and the pieces their texts are made of.

A message says where it happened, what came, what was expected and what to do.
"""

import difflib
from collections.abc import Iterable


class ShapeError(ValueError):
    """Two tensors, or a tensor and what a part expects, differ in shape."""


class DataError(ValueError):
    """A file of a data set is missing, unreadable or holds impossible values."""


class MissingDependencyError(ImportError):
    """An optional package that a part needs is absent or does not load."""


def suggest(name: str, known: Iterable[str]) -> str:
    """List the known names and the one that ``name`` probably meant.

    Example:
        >>> suggest('dept', ['depth', 'normal'])
        "Known: depth, normal. Did you mean 'depth'?"
    """
    names = sorted(known)
    text = f'Known: {", ".join(names)}.'
    close = difflib.get_close_matches(name, names, n=1)
    return f"{text} Did you mean '{close[0]}'?" if close else text
