"""``tools/misc/normal_centroids.py`` on the procedural rooms."""

import importlib.util
import json
from pathlib import Path

import numpy as np

from mmdense.tasks import CentroidNormal

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'configs/atrc/atrc_r18-thin_1xb8-600_rooms-96x128.py'


def test_centroids_of_rooms_are_nearer_than_even_directions(tmp_path, capsys):
    spec = importlib.util.spec_from_file_location(
        'normal_centroids', ROOT / 'tools/misc/normal_centroids.py'
    )
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    out = tmp_path / 'centroids.json'
    dataset = 'train_dataloader.dataset'
    options = [f'{dataset}.cache_dir={tmp_path}', f'{dataset}.length=4', f'{dataset}.size=(24,32)']
    sizes = ['--num', '12', '--pictures', '3', '--pixels', '50']
    assert tool.main([str(CONFIG), str(out), *sizes, '--cfg-options', *options]) == 0
    found = json.loads(out.read_text())
    assert (found['num_pictures'], found['num_normals']) == (3, 150)
    centroids = np.array(found['centroids'])
    np.testing.assert_allclose(np.linalg.norm(centroids, axis=1), 1)
    # Visible surfaces face the camera, at the edges of a picture somewhat to the side of it.
    assert (centroids[:, 2] > -0.5).all() and centroids[:, 2].mean() > 0.3
    # Rooms have few directions; evenly spread ones are 12 to 22 degrees away.
    assert found['mean_angle_deg'] < 5
    assert 'with evenly spread directions' in capsys.readouterr().out
    assert CentroidNormal(12, str(out)).num_channels == 12
