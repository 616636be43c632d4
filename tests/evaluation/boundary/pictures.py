"""Predictions that look like those of a network, for procedural rooms."""

import numpy as np
from scipy import ndimage

from mmdense.datasets.rooms.render import render_room


def room_and_prediction(index, size=(60, 80)):
    """Instance boundaries of a room, 0 or 1, and a map of 8-bit levels that is nearly right."""
    room = render_room(0, 'val', index, size, 0)
    rng = np.random.default_rng(index)
    edges = room.gt['boundary']
    near = ndimage.gaussian_filter(edges.astype(float), 1.2)
    sure = ndimage.gaussian_filter(rng.normal(size=size), 6)
    noise = ndimage.gaussian_filter(rng.normal(size=size), 1)
    logit = 7 * near / near.max() * (1 + sure / sure.std() / 3) - 3.5 + noise / noise.std()
    return edges, (255 / (1 + np.exp(-logit))).astype(np.uint8)


def blobs(rng, size, smooth=1.5):
    """Smooth random levels over the whole range of 8 bits."""
    field = ndimage.gaussian_filter(rng.normal(size=size), smooth)
    return np.clip(128 + 60 * field / max(field.std(), 1e-9), 0, 255).astype(np.uint8)
