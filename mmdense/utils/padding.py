"""Where padding goes, in one place for pipelines and the data preprocessor."""

from __future__ import annotations

Size = tuple[int, int]


def padding_of(size: Size, target: Size, position: str) -> tuple[int, int, int, int]:
    """Padding ``(left, right, top, bottom)`` that brings ``size`` to ``target``.

    Args:
        size (tuple[int, int]): Height and width now.
        target (tuple[int, int]): Height and width wanted; a smaller one counts as ``size``.
        position (str): ``'corner'`` pads bottom and right; ``'center'`` pads all sides,
            ``floor(delta / 2)`` at the top and left.

    Example:
        >>> padding_of((4, 5), (7, 5), 'center')
        (0, 0, 1, 2)
    """
    height, width = (max(want - have, 0) for have, want in zip(size, target))
    top, left = (height // 2, width // 2) if position == 'center' else (0, 0)
    return left, width - left, top, height - top
