"""Heads: features to the map of one task."""
