"""Backbones, necks, heads, losses and what joins them."""

from . import balancers, heads, losses, predictors  # noqa: F401
