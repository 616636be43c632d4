"""Planes, rays and their integral as pure functions: tensors in, tensors out.

:func:`render_naive` is the readable truth, :func:`render_factorised` equals it and is what
trains.
"""

from .factorised import render_factorised
from .general_rays import render_points
from .geometry import pixel_centers, plane_names, sample_triplane
from .integral import Composite, composite, importance_depths
from .naive import RayDetails, render_naive
from .schedule import alpha_at

__all__ = [
    'Composite',
    'RayDetails',
    'alpha_at',
    'composite',
    'importance_depths',
    'pixel_centers',
    'plane_names',
    'render_factorised',
    'render_naive',
    'render_points',
    'sample_triplane',
]
