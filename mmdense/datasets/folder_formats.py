"""How the maps of a folder data set are stored: one class per kind of map.

The arguments of a class are the keys that an entry of ``dataset.yml`` may have.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np

from mmdense.conventions import get_convention
from mmdense.tasks import BaseTask, BinaryTask, Depth, LabelTask, Normal
from mmdense.tasks.depth import DEPTH_KINDS
from mmdense.utils import DataError, suggest

from .reading import binary_map, one_channel, read_label, read_map, read_normals

Array = np.ndarray
Backend = dict[str, Any] | None

#: Names of the units of lengths to metres.
UNITS = dict(m=1.0, dm=0.1, cm=0.01, mm=0.001)
#: Stored labels are looked up in a table of at most so many entries.
_MAX_TABLE = 2**24


class MapFormat(ABC):
    """What is on disk for one task, and how it becomes ground truth.

    Args:
        where (str): File and entry, for messages.
    """

    #: How ``dataset.yml`` calls it.
    name: ClassVar[str]

    def __init__(self, where: str) -> None:
        self.where = where

    @abstractmethod
    def read(self, path: str, task: BaseTask, backend_args: Backend = None) -> Array:
        """Ground truth of ``task`` from a file.

        Raises:
            DataError: If the file is damaged, or holds what its entry does not describe.
        """

    def task_options(self) -> dict[str, Any]:
        """Arguments that a task needs to fit the files."""
        return {}


class LabelFormat(MapFormat):
    """Class labels: integers, or a palette picture.

    Args:
        where (str): File and entry, for messages.
        classes (Sequence | Mapping): Names, whose stored values are 0, 1, 2, ...; or stored value
            to name. Values that share a name are one class; classes are numbered in the order
            in which their names appear.
        invalid (Sequence[int]): Stored values that mean unknown.
        others (str): What other stored values do: ``'refuse'`` the picture, or ``'invalid'``.
    """

    name = 'labels'

    def __init__(
        self,
        where: str,
        classes: Sequence[str] | Mapping[int, str] | None = None,
        invalid: Sequence[int] = (255,),
        others: str = 'refuse',
    ) -> None:
        super().__init__(where)
        stored = self._stored_classes(classes)
        self.classes = tuple(dict.fromkeys(stored.values()))
        if not 2 <= len(self.classes) <= 255:
            raise DataError(
                f'{where}.classes names {len(self.classes)} classes, expected 2 to 255.'
            )
        if others not in ('refuse', 'invalid'):
            raise DataError(f"{where}.others is {others!r}; choose 'refuse' or 'invalid'.")
        self.others = others
        self.invalid = [_whole(value, f'{where}.invalid') for value in _listed(invalid)]
        both = sorted(set(self.invalid) & set(stored))
        if both:
            raise DataError(
                f"{where}: value {both[0]} is class '{stored[both[0]]}' and `invalid`. Take it off "
                'one of the two; classes that start at 1 are written as {1: wall, 2: floor}.'
            )
        self.low = min(*stored, *self.invalid)
        size = max(*stored, *self.invalid) - self.low + 1
        if size > _MAX_TABLE:
            raise DataError(f'{where}: stored values span {size}, more than {_MAX_TABLE}.')
        # -1: a value that nothing names.
        self.table = np.full(size, -1, np.int16)
        for value, name in stored.items():
            self.table[value - self.low] = self.classes.index(name)
        self.table[np.asarray(self.invalid, int) - self.low] = 255
        self.bytes_table = np.full(256, -1, np.int16)
        for value in {*stored, *self.invalid} & {*range(256)}:
            self.bytes_table[value] = self.table[value - self.low]

    def _stored_classes(self, classes: Any) -> dict[int, str]:
        if isinstance(classes, Mapping):
            return {_whole(k, f'{self.where}.classes'): str(name) for k, name in classes.items()}
        if not isinstance(classes, Sequence) or isinstance(classes, str):
            raise DataError(
                f'{self.where}.classes is {classes!r}; list the names, as in '
                'classes: [wall, floor], or give each stored value one, as in '
                'classes: {1: wall, 2: floor}.'
            )
        names = [str(name) for name in classes]
        if len(set(names)) < len(names):
            raise DataError(f'{self.where}.classes names a class twice: {names}.')
        return dict(enumerate(names))

    def read(self, path: str, task: BaseTask, backend_args: Backend = None) -> Array:
        stored = read_label(path, backend_args)
        labels = self._look_up(stored)
        nameless = labels < 0
        if nameless.any():
            if self.others == 'refuse':
                found = np.unique(stored[nameless])
                raise DataError(
                    f'{path}: holds the labels {found[:8].tolist()}, which {self.where} names '
                    'neither in `classes` nor in `invalid`. Name them, or set others: invalid.'
                )
            labels[nameless] = 255
        return labels.astype(np.uint8)

    def _look_up(self, stored: Array) -> Array:
        """Class indices int16, 255 unknown, -1 where nothing names the stored value."""
        if stored.dtype == np.uint8:
            return self.bytes_table.take(stored)
        inside = (stored >= self.low) & (stored < self.low + len(self.table))
        index = np.where(inside, stored.astype(np.int64) - self.low, 0)
        return np.where(inside, self.table.take(index), np.int16(-1))

    def task_options(self) -> dict[str, Any]:
        return dict(num_classes=len(self.classes), classes=self.classes)


class _Numbers(MapFormat):
    """Base of formats whose stored values are numbers, some of which mean unknown."""

    def __init__(self, where: str, invalid: Sequence[float]) -> None:
        super().__init__(where)
        self.invalid = [number(value, f'{where}.invalid') for value in _listed(invalid)]

    def unknown(self, stored: Array) -> Array:
        """Values that ``invalid`` lists, bool of the shape of ``stored``."""
        found = np.zeros(stored.shape, bool)
        for value in self.invalid:
            found |= np.isnan(stored) if np.isnan(value) else stored == value
        return found

    def check_known(self, known: Array, path: str) -> None:
        """Refuse NaN and infinity among values that ``invalid`` does not list."""
        bad = ~np.isfinite(known)
        if bad.any():
            raise DataError(
                f'{path}: {int(bad.sum())} values are NaN or infinite. If that means unknown, say '
                f'so in {self.where}: invalid: [.nan, .inf, -.inf].'
            )


class DepthFormat(_Numbers):
    """Depth along the optical axis, or an inverse quantity.

    Args:
        where (str): File and entry, for messages.
        unit (str | None): Of stored metric depth: one of :data:`UNITS`.
        scale (float | str | None): In place of ``unit``: metres per stored unit, or what
            turns stored values into the quantity of ``kind``; also a fraction, '1/256'.
        kind (str): ``'metric'``, ``'disparity_px'`` or ``'inverse_norm'``, see
            :class:`~mmdense.tasks.Depth`.
        invalid (Sequence[float]): Stored values that mean unknown.
    """

    name = 'depth'

    def __init__(
        self,
        where: str,
        unit: str | None = None,
        scale: float | str | None = None,
        kind: str = 'metric',
        invalid: Sequence[float] = (0,),
    ) -> None:
        super().__init__(where, invalid)
        if kind not in DEPTH_KINDS:
            raise DataError(f'{where}.kind is {kind!r}. {suggest(str(kind), DEPTH_KINDS)}')
        if unit is not None and unit not in UNITS:
            raise DataError(
                f'{where}.unit is {unit!r}. {suggest(str(unit), UNITS)} Any other unit is a '
                '`scale` in metres.'
            )
        stated = [name for name, value in (('unit', unit), ('scale', scale)) if value is not None]
        if len(stated) != 1 or (unit is not None and kind != 'metric'):
            raise DataError(
                f'{where} states {" and ".join(stated) or "no unit"} for {kind} depth; give one of '
                'unit: m, unit: mm, ... (metric depth only) or scale: 0.001 (what a stored value '
                'is multiplied with).'
            )
        self.kind = kind
        factor = UNITS[unit] if unit is not None else number(scale, f'{where}.scale')
        if not 0 < factor < np.inf:
            raise DataError(f'{where}.scale is {scale!r}; it must be positive.')
        self.factor = np.float32(factor)

    def read(self, path: str, task: BaseTask, backend_args: Backend = None) -> Array:
        stored = one_channel(read_map(path, backend_args))
        if stored.ndim != 2:
            raise DataError(
                f'{path}: depth is {stored.dtype} {stored.shape}, expected (H, W). Coloured '
                'pictures of depth hold no depth.'
            )
        unknown = self.unknown(stored)
        depth = stored.astype(np.float32) * self.factor
        if stored.dtype.kind == 'f':
            self.check_known(depth[~unknown], path)
        depth[unknown] = task.ignore_value
        return depth

    def task_options(self) -> dict[str, Any]:
        low, high = dict(metric=(1e-3, 1e3), disparity_px=(0.0, 1e4), inverse_norm=(0.0, 1.0))[
            self.kind
        ]
        return dict(kind=self.kind, min_depth=low, max_depth=high)


class NormalFormat(MapFormat):
    """Surface normals: 8 bit ``2 v / 255 - 1``, or floats in [-1, 1].

    Args:
        where (str): File and entry, for messages.
        axes (str | None): A convention by name, such as 'opencv', or where x, y and z of the
            stored normals point, such as 'x-right y-down z-front'; see
            :mod:`mmdense.conventions`. Must be stated.
        min_length (float): Stored vectors of at most this length are unknown; 8-bit maps have
            no zero vector, mid-grey is one of length 0.007.
    """

    name = 'normals'

    def __init__(self, where: str, axes: str | None = None, min_length: float = 0.1) -> None:
        super().__init__(where)
        if axes is None:
            raise DataError(
                f"{where} does not state `axes`; give those of the files, such as 'x-right y-up "
                "z-back' (the library's) or the name of a convention, such as opencv."
            )
        try:
            self.axes = get_convention(str(axes)).normal_axes
        except ValueError as error:
            raise DataError(f'{where}.axes: {error}') from error
        self.min_length = number(min_length, f'{where}.min_length')

    def read(self, path: str, task: BaseTask, backend_args: Backend = None) -> Array:
        return read_normals(path, self.axes, self.min_length, backend_args=backend_args)


class BinaryFormat(_Numbers):
    """Maps of zeros and ones; 8-bit grey counts as one above half.

    Args:
        where (str): File and entry, for messages.
        one (int | None): The stored value of one, 1 or 255. None: 255 in files where any value
            exceeds 1.
        invalid (Sequence[int]): Stored values that mean unknown; none by default.
    """

    name = 'binary'

    def __init__(self, where: str, one: int | None = None, invalid: Sequence[int] = ()) -> None:
        super().__init__(where, invalid)
        if one not in (None, 1, 255):
            raise DataError(f'{where}.one is {one!r}; choose 1 or 255.')
        self.one = one

    def read(self, path: str, task: BaseTask, backend_args: Backend = None) -> Array:
        stored = one_channel(read_map(path, backend_args))
        unknown = self.unknown(stored)
        ones = binary_map(np.where(unknown, np.zeros((), stored.dtype), stored), path, self.one)
        ones[unknown] = 255
        return ones


class ValueFormat(_Numbers):
    """Plain numbers, one or several per pixel: ``stored * scale + offset``.

    Args:
        where (str): File and entry, for messages.
        scale (float | str | None): Also a fraction, '1/255'. None: 1, for files of floats only.
        offset (float): Added after scaling.
        invalid (Sequence[float]): Stored values that mean unknown; of several channels, all must
            have it. None by default.
    """

    name = 'values'

    def __init__(
        self,
        where: str,
        scale: float | str | None = None,
        offset: float = 0.0,
        invalid: Sequence[float] = (),
    ) -> None:
        super().__init__(where, invalid)
        self.scale = None if scale is None else np.float32(number(scale, f'{where}.scale'))
        self.offset = np.float32(number(offset, f'{where}.offset'))

    def read(self, path: str, task: BaseTask, backend_args: Backend = None) -> Array:
        stored = read_map(path, backend_args)
        if task.gt_channels == 1:
            stored = one_channel(stored)
        if self.scale is None and stored.dtype.kind != 'f':
            raise DataError(
                f'{path}: holds {stored.dtype}, and {self.where} does not say what the numbers '
                'stand for. Add `scale`, such as scale: 1/255 for values in [0, 1].'
            )
        unknown = self.unknown(stored)
        if stored.ndim == 3:
            unknown = np.asarray(unknown.all(axis=-1))
        values = stored.astype(np.float32)
        if self.scale is not None:
            values *= self.scale
        values += self.offset
        self.check_known(values[~unknown], path)
        values[unknown] = task.ignore_value
        return values


FORMATS: dict[str, type[MapFormat]] = {
    kind.name: kind for kind in (LabelFormat, DepthFormat, NormalFormat, BinaryFormat, ValueFormat)
}
#: Kinds of tasks to the format of their files; the first that fits.
_USUAL: tuple[tuple[type[BaseTask], type[MapFormat]], ...] = (
    (LabelTask, LabelFormat),
    (BinaryTask, BinaryFormat),
    (Depth, DepthFormat),
    (Normal, NormalFormat),
)


def usual_format(task: type[BaseTask]) -> type[MapFormat]:
    """The format that files of a kind of task have unless an entry names another."""
    return next((fmt for kind, fmt in _USUAL if issubclass(task, kind)), ValueFormat)


def number(value: Any, where: str) -> float:
    """A number of a YAML file; also a fraction in text, such as '1/256'.

    Raises:
        DataError: If it is none.
    """
    try:
        # YAML reads 1e-3 as text.
        return float(Fraction(value)) if isinstance(value, str) and '/' in value else float(value)
    except (ValueError, TypeError, ZeroDivisionError) as error:
        raise DataError(
            f'{where} is {value!r}, expected a number such as 0.001 or 1/256.'
        ) from error


def _whole(value: Any, where: str) -> int:
    whole = number(value, where)
    if isinstance(value, bool) or not np.isfinite(whole) or whole != int(whole):
        raise DataError(f'{where} holds {value!r}; stored labels are whole numbers.')
    return int(whole)


def _listed(value: Any) -> list[Any]:
    """A list, of one value where the file gives one without brackets."""
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]
