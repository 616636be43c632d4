"""Growth of a regularizer's weight, checked against the run."""

from __future__ import annotations

import warnings

from .functional import alpha_at
from .run_clock import RunClock


class Ramp:
    """``alpha`` of every iteration.

    Args:
        where (str): How a config calls the regularizer, with ``{}`` for the argument.
        alpha_max (float): Weight after the ramp, at least 0.
        iters (int | None): Length in iterations.
        fraction (float | None): Length as a share of the run, instead. With neither, 20000
            iterations.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self, where: str, alpha_max: float, iters: int | None, fraction: float | None
    ) -> None:
        self.where = where
        if not alpha_max >= 0:
            raise ValueError(f'{where.format("alpha_max")}={alpha_max}; give a number >= 0.')
        key = where.format('ramp_iters')
        if iters is not None and fraction is not None:
            raise ValueError(f'{key} and ramp_fraction are both given; give one of them.')
        if fraction is not None and not 0 < fraction <= 1:
            raise ValueError(f'{where.format("ramp_fraction")}={fraction}; a share in (0, 1].')
        if iters is not None and iters <= 0:
            raise ValueError(f'{key}={iters}; give a positive number.')
        self.alpha_max, self.fraction = alpha_max, fraction
        self.iters = 20000 if iters is None and fraction is None else iters
        self._checked = False

    def at(self, iteration: int, clock: RunClock) -> float:
        """``alpha`` after so many finished iterations; warns once of a ramp longer than the run.

        Raises:
            ValueError: If the length is a share of a run whose length is unknown.
        """
        if self.fraction is not None:
            if clock.max_iters is None:
                if iteration == 0:  # a step on its own, such as a benchmark's
                    return 0.0
                raise ValueError(
                    f'{self.where.format("ramp_fraction")}: the length of the run is unknown '
                    "outside of mmengine's runner; give ramp_iters."
                )
            return alpha_at(
                iteration, self.alpha_max, max(1, round(self.fraction * clock.max_iters))
            )
        length = self.iters or 1
        if not self._checked and clock.max_iters is not None:
            self._checked = True
            if length > clock.max_iters:
                warnings.warn(
                    f'{self.where.format("ramp_iters")}={length} is longer than the run '
                    f'({clock.max_iters} iterations): alpha never reaches alpha_max. Set '
                    'ramp_fraction=0.5 for half of any run.',
                    stacklevel=3,
                )
        return alpha_at(iteration, self.alpha_max, length)
