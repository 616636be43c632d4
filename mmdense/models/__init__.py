"""Backbones, necks, heads, losses and what joins them."""

from . import heads, losses  # noqa: F401
