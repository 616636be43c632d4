"""One predicted map with everything that is needed to read it right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mmdense.utils import ShapeError

if TYPE_CHECKING:
    from mmdense.tasks import BaseTask

Array = np.ndarray


@dataclass(frozen=True)
class DenseMap:
    """A map of one task, typed: numbers, their unit, where they mean something and in what axes.

    Attributes:
        task (str): Key of the task.
        value (Array): ``(H, W)``, or ``(H, W, D)`` for maps of vectors.
        unit (str): Unit of the values: ``'m'``, ``'px'``, ``'class'``, ``'unit vector'``,
            ``'probability'``; ``''`` where there is none.
        kind (str): ``'labels'``, ``'depth'``, ``'direction'``, ``'probability'`` or ``'values'``.
        valid (Array): ``(H, W)`` bool; False where the value says nothing, such as depth that
            ran into an end of the model's range.
        convention (str): One sentence on axes, origin and marks.
        classes (tuple[str, ...] | None): Class names of a map of labels, by index.
        palette (Array | None): Colours of the classes, ``(K, 3)`` uint8, RGB.

    Raises:
        ShapeError: If ``value`` is no map, or ``valid`` is of another size.
    """

    task: str
    value: Array
    unit: str
    kind: str
    valid: Array
    convention: str
    classes: tuple[str, ...] | None = None
    palette: Array | None = None

    def __post_init__(self) -> None:
        if self.value.ndim not in (2, 3) or self.valid.shape != self.value.shape[:2]:
            raise ShapeError(
                f"DenseMap of task '{self.task}': the map is {self.value.shape}, its valid mask "
                f'{self.valid.shape}; expected (H, W) or (H, W, D), and (H, W).'
            )

    @classmethod
    def of(cls, task: BaseTask, value: Array) -> DenseMap:
        """The map of a task; what it means is asked of the task.

        Args:
            task (BaseTask): Who knows.
            value (Array): ``(H, W)`` or ``(H, W, D)``, decoded.
        """
        return cls(
            task=task.key,
            value=value,
            unit=task.map_unit,
            kind=task.map_kind,
            valid=np.asarray(task.valid(value), dtype=bool),
            convention=task.convention,
            classes=task.classes,
            palette=task.palette,
        )

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.value.shape[0], self.value.shape[1]

    def __repr__(self) -> str:
        shape = 'x'.join(map(str, self.value.shape))
        return f'DenseMap({self.task}: {self.kind} {shape} {self.value.dtype} [{self.unit}])'
