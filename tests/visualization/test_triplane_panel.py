import math

import numpy as np
import pytest
import torch

from mmdense.models.regularizers.functional import RayDetails, composite
from mmdense.tasks import build_tasks
from mmdense.visualization.triplane import density_slice, triplane_panel

SIZE = (3, 4)


def rays(sigma):
    """Details of rays with densities ``(H * W, S)``."""
    z = torch.linspace(-1, 1, sigma.shape[-1]).expand(1, *sigma.shape)
    found = composite(sigma[None], z)
    return RayDetails(z, *found)


def test_density_is_read_back_from_the_weights():
    sigma = torch.full((12, 41), 1.0)
    sigma[:, 20:] = 2.0
    picture = density_slice(rays(sigma), SIZE, 1, steps=80)
    assert picture.shape == (80, 4)
    softplus = [math.log1p(math.exp(s - 1)) for s in (1.0, 2.0)]
    # The first line is far, the last near.
    assert picture[-1] == pytest.approx(softplus[0], rel=1e-3)
    assert picture[0] == pytest.approx(softplus[1], rel=1e-3)
    assert picture[60] == pytest.approx(softplus[0], rel=1e-3)
    assert picture[20] == pytest.approx(softplus[1], rel=1e-3)
    bare = RayDetails(None, None, None, *rays(sigma)[3:])
    with pytest.raises(ValueError, match='details=True'):
        density_slice(bare, SIZE, 1)


def test_panel_has_a_row_per_task_and_one_of_planes():
    tasks = build_tasks(
        dict(semseg=dict(type='SemSeg', num_classes=3), depth=dict(type='Depth'),
             normal=dict(type='Normal'))
    )  # fmt: skip
    logits = {key: torch.randn(1, task.num_channels, *SIZE) for key, task in tasks.items()}
    details = {key: rays(torch.randn(12, 9)) for key in tasks}
    image = np.full((30, 40, 3), 128, np.uint8)
    planes = torch.randn(1, 3, 2, 5, 6)
    drawn = triplane_panel(image, tasks, logits, details, planes, ('xy', 'yz', 'xz'), SIZE, 60)
    tile, header, gap = (60, 80), 22, 4
    assert drawn.shape == (4 * (tile[0] + header + gap) - gap, 5 * (tile[1] + gap) - gap, 3)
    # Row 1 of 3 of the grid is marked in the picture.
    line = drawn[header + 30, : tile[1]]
    assert (line == (255, 64, 64)).all()
    planes_row = drawn[3 * (tile[0] + header + gap) :]
    assert (planes_row[:, 3 * (tile[1] + gap) :] == 255).all()
    assert planes_row[header:, : tile[1]].std() > 0
