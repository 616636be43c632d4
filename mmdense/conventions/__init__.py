"""Axes, projection and depth: docs/conventions.md as code."""

from .axes import (
    CONVENTIONS,
    LIBRARY_AXES,
    AxisConvention,
    axis_matrix,
    axis_signs,
    convert_intrinsics,
    convert_normals,
    convert_points,
    convert_poses,
    get_convention,
)
from .check import AxisEstimate, estimate_axes
from .projection import axis_to_ray_depth, back_project, pixel_rays, project, ray_to_axis_depth

__all__ = [
    'CONVENTIONS',
    'LIBRARY_AXES',
    'AxisConvention',
    'AxisEstimate',
    'axis_matrix',
    'axis_signs',
    'axis_to_ray_depth',
    'back_project',
    'convert_intrinsics',
    'convert_normals',
    'convert_points',
    'convert_poses',
    'estimate_axes',
    'get_convention',
    'pixel_rays',
    'project',
    'ray_to_axis_depth',
]
