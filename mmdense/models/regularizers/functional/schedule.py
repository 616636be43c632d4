"""Weight of the regularizer over the training."""

from __future__ import annotations


def alpha_at(iteration: int, alpha_max: float = 4.0, ramp_iters: int = 20000) -> float:
    """``alpha_max * min(iteration / ramp_iters, 1)``.

    Args:
        iteration (int): Finished iterations, from 0. With gradient accumulation these are
            forward passes (mmengine's ``runner.iter``), not optimizer steps.
        alpha_max (float): Value after the ramp.
        ramp_iters (int): Length of the linear ramp from 0, in iterations.

    Raises:
        ValueError: If ``ramp_iters`` is not positive.

    Example:
        >>> alpha_at(5000)
        1.0
    """
    if ramp_iters <= 0:
        raise ValueError(f'alpha_at: ramp_iters is {ramp_iters}; give a positive number.')
    return alpha_max * min(iteration / ramp_iters, 1.0)
