import numpy as np
import pytest
import torch

from mmdense.apis import DenseInferencer
from mmdense.apis.raw_maps import without_padding


def test_cells_of_the_padding_are_cut():
    maps = torch.arange(4 * 6.0).view(1, 4, 6)
    # Cells of 8 pixels: their centres are at 4, 12, 20, ...
    assert without_padding(maps, (0, 0, 0, 0), (32, 48)).shape == (1, 4, 6)
    cut = without_padding(maps, (3, 13, 5, 11), (32, 48))
    assert torch.equal(cut, maps[:, 1:3, 0:4])
    tiny = without_padding(maps, (0, 47, 0, 31), (32, 48))
    assert torch.equal(tiny, maps[:, :1, :1])
    assert torch.equal(without_padding(maps, (46, 1, 30, 1), (32, 48)), maps[:, 3:, 5:])


@pytest.mark.slow
def test_clusters_and_what_they_stand_for_make_the_map():
    with pytest.warns(UserWarning, match='weights are random'):
        inferencer = DenseInferencer(
            'polymax_convnext-atto_1xb8-quickstart_rooms-96x128', device='cpu', show_progress=False
        )
    image = np.random.default_rng(0).integers(0, 256, (60, 96, 3), np.uint8)
    found = inferencer(image, return_raw=True)
    for key, raw in found['raw'][0].items():
        shares, meanings = raw.shares['clusters'], raw.meanings['clusters']
        assert shares.shape == (len(meanings), 15, 24)  # stride 4, four rows of padding cut
        np.testing.assert_allclose(shares.sum(0), 1, atol=1e-5)
        assert raw.prediction.shape[1:] == (60, 96), key
    raw = found['raw'][0]['depth']
    coarse = np.einsum('khw,kd->hw', raw.shares['clusters'], raw.meanings['clusters'])
    inner = found['predictions'][0]['depth'].value.reshape(15, 4, 24, 4).mean((1, 3))[1:-1, 1:-1]
    np.testing.assert_allclose(inner, coarse[1:-1, 1:-1], atol=0.05)
