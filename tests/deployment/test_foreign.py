import pytest
import torch
from mmseg.models.backbones.swin import ShiftWindowMSA

from mmdense.deployment.foreign import pixel_decoder, traceable_parts


def test_windows_are_put_together_as_by_mmsegmentation():
    block = ShiftWindowMSA(4, 2, 3, shift_size=1).eval()
    tokens = torch.randn(2, 5 * 7, 4)
    expected, original = block(tokens, (5, 7)), ShiftWindowMSA.window_reverse
    with traceable_parts():
        assert ShiftWindowMSA.window_reverse is not original
        assert torch.equal(block(tokens, (5, 7)), expected)
    assert ShiftWindowMSA.window_reverse is original


@pytest.mark.ops
def test_pixel_decoder_is_that_of_mmdetection():
    pytest.importorskip('mmcv._ext')
    from mmdense.models.necks import Mask2FormerEmbedding

    neck = Mask2FormerEmbedding(
        [4, 8, 8, 16], 32, 5, 2, 1, num_heads=4, encoder_channels=16, decoder_channels=16
    ).eval()
    decoder = neck.pixel_decoder
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
        sizes = ((12, 16), (6, 8), (3, 4), (2, 2))
        maps = [torch.randn(2, c, *size) for c, size in zip((4, 8, 8, 16), sizes)]
        expected, outs = decoder(maps)
        found, others = pixel_decoder(decoder, maps)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert len(outs) == len(others) == 3
    for one, other in zip(outs, others):
        torch.testing.assert_close(other, one, atol=1e-4, rtol=1e-4)
