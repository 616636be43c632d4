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


def close_names(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Known names that ``name`` may be a slip of, the likeliest first.

    Upper and lower case count as the same, and a name that holds the other one is close
    however much longer it is.

    Args:
        name (str): What was given.
        known (Iterable[str]): What there is.
        count (int): Most names to return.

    Example:
        >>> close_names('triplane', ['TriplaneRegularizer', 'ConvNeXt'])
        ['TriplaneRegularizer']
    """
    lowered: dict[str, list[str]] = {}
    for item in sorted(set(known)):
        lowered.setdefault(item.lower(), []).append(item)
    wanted = name.lower()
    near = difflib.get_close_matches(wanted, lowered, n=count, cutoff=0.6)
    if len(wanted) > 3:  # shorter ones are part of anything
        near += sorted((key for key in lowered if wanted in key and key not in near), key=len)
    return [item for key in near for item in lowered[key]][:count]


def suggest(name: str, known: Iterable[str]) -> str:
    """List the known names and the one that ``name`` probably meant.

    Example:
        >>> suggest('dept', ['depth', 'normal'])
        "Known: depth, normal. Did you mean 'depth'?"
    """
    names = sorted(known)
    text = f'Known: {", ".join(names)}.'
    close = close_names(name, names, 1)
    return f"{text} Did you mean '{close[0]}'?" if close else text
