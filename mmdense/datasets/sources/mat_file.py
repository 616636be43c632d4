"""Variables of ``.mat`` files of either format, MATLAB 5 or 7.3, page by page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import whosmat

from mmdense.utils import DataError, require

from ..matlab import read_mat

Array = np.ndarray


class MatFile:
    """A ``.mat`` file whose variables are read when they are asked for.

    Arrays have the dimensions that MATLAB shows, whatever the format. Picklable: every process
    opens the file for itself.

    Args:
        path (str | Path): The file.
        what (str): Its published name, for messages.

    Raises:
        DataError: If it does not exist or is no ``.mat`` file.
        MissingDependencyError: If it is of MATLAB 7.3 and h5py is absent.
    """

    def __init__(self, path: str | Path, what: str) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise DataError(f"'{self.path}' does not exist; it must be {what}.")
        with self.path.open('rb') as file:
            self.is_hdf5 = b'MATLAB 7.3' in (head := file.read(128)) or head[:4] == b'\x89HDF'
        if self.is_hdf5:
            require('h5py', f'{self.path.name}, a file of MATLAB 7.3,', 'pip install h5py')
        self._open: Any = None
        self._loaded: dict[str, Array] = {}
        self.names()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_open': None, '_loaded': {}}

    @property
    def _file(self) -> Any:
        if self._open is None:
            import h5py

            try:
                self._open = h5py.File(self.path, 'r')
            except OSError as error:
                raise self._damaged(error) from error
        return self._open

    def _damaged(self, error: Exception) -> DataError:
        return DataError(f'{self.path}: is damaged ({error}). Copy or download it again.')

    def names(self) -> list[str]:
        """The variables of the file."""
        if self.is_hdf5:
            return sorted(name for name in self._file if not name.startswith('#'))
        try:
            return sorted(name for name, _, _ in whosmat(self.path))
        # A parser of foreign bytes: whatever it stumbles over means that the file is damaged.
        except Exception as error:
            raise self._damaged(error) from error

    def _require(self, name: str) -> None:
        if name not in self.names():
            raise DataError(f"{self.path}: has no variable '{name}', only {self.names()}.")

    def shape(self, name: str) -> tuple[int, ...]:
        """Dimensions of a variable, as MATLAB shows them."""
        self._require(name)
        if self.is_hdf5:
            return tuple(reversed(self._file[name].shape))
        return next(shape for found, shape, _ in whosmat(self.path) if found == name)

    def array(self, name: str) -> Array:
        """A whole variable."""
        self._require(name)
        if self.is_hdf5:
            return np.asarray(self._file[name]).T
        if name not in self._loaded:
            self._loaded[name] = np.asarray(read_mat(str(self.path), name))
        return self._loaded[name]

    def page(self, name: str, at: int) -> Array:
        """Member ``at`` of the last dimension, for example one picture of many.

        Raises:
            DataError: If it cannot be read.
        """
        if not self.is_hdf5:
            return self.array(name)[..., at]
        self._require(name)
        try:
            # HDF5 holds the dimensions in reverse.
            return np.asarray(self._file[name][at]).T
        except (OSError, IndexError, ValueError) as error:
            raise self._damaged(error) from error

    def strings(self, name: str) -> list[str]:
        """A cell array of strings."""
        self._require(name)
        if not self.is_hdf5:
            return [str(cell.item()) for cell in self.array(name).ravel() if cell.size]
        # Cells are references to arrays of character codes.
        cells = np.asarray(self._file[name]).ravel()
        return [''.join(map(chr, np.asarray(self._file[cell]).ravel())) for cell in cells]
