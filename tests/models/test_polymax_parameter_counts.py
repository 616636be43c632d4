"""Exact numbers of trainable parameters, built on the meta device (no memory, no time)."""

import pytest
import torch
from torch import nn

from mmdense.models.backbones import ConvNeXt, ResNet
from mmdense.models.heads import AuxiliarySemanticDecoder, KMaXTransformerDecoder
from mmdense.models.necks import KMaXPixelDecoder

BACKBONES = ['resnet50', 'tiny', 'small', 'base', 'large']
BACKBONE_PARAMETERS = [23_508_032, 27_818_592, 49_453_152, 87_564_416, 196_227_264]
PIXEL_DECODER = [21_151_040, 21_197_440, 21_197_440, 22_027_840, 23_688_640]
INPUT_NORMS = [7_680, 2_880, 2_880, 3_840, 5_760]
STAGE_OS32 = [8_671_840, 8_938_080, 8_938_080, 9_724_512, 11_297_376]
FUSIONS = [
    (787_456, 197_120, 49_408),
    (623_616, 156_160, 39_168),
    (623_616, 156_160, 39_168),
    (656_384, 164_352, 41_216),
    (721_920, 180_736, 45_312),
]
AUXILIARY = [15_856_742, 6_328_422, 6_328_422, 8_234_086, 12_045_414]
# kMaX COCO; PolyMaX segmentation with 40 classes, depth with K = 16, normals with K = 8.
TOTALS = {
    (128, 134): [56_580_120, 60_937_080, 82_571_640, 121_513_304, 231_836_952],
    (40, 41): [56_390_285, 60_747_245, 82_381_805, 121_323_469, 231_647_117],
    (16, 1): [56_312_181, 60_669_141, 82_303_701, 121_245_365, 231_569_013],
    (8, 3): [56_313_731, 60_670_691, 82_305_251, 121_246_915, 231_570_563],
}
DECODER_CHANNELS = (256, 512, 1024, 2048)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def backbone(name: str) -> nn.Module:
    with torch.device('meta'):
        return ResNet(50) if name == 'resnet50' else ConvNeXt(name)


def decoder(num_queries: int, out_channels: int) -> KMaXTransformerDecoder:
    with torch.device('meta'):
        return KMaXTransformerDecoder(DECODER_CHANNELS, num_queries, out_channels)


@pytest.mark.parametrize('i', range(5), ids=BACKBONES)
def test_backbone_and_pixel_decoder(i):
    body = backbone(BACKBONES[i])
    assert body.strides == (4, 8, 16, 32)
    with torch.device('meta'):
        pixel_decoder = KMaXPixelDecoder(body.channels)
    assert pixel_decoder.channels == DECODER_CHANNELS
    assert count(body) == BACKBONE_PARAMETERS[i]
    assert count(pixel_decoder) == PIXEL_DECODER[i]
    assert count(pixel_decoder.input_norms) == INPUT_NORMS[i]
    stages = [count(stage) for stage in pixel_decoder.stages]
    assert stages == [STAGE_OS32[i], 11_065_056, 297_472, 75_008]
    assert tuple(count(fusion) for fusion in pixel_decoder.fusions) == FUSIONS[i]
    for (queries, out), totals in TOTALS.items():
        total = count(body) + count(pixel_decoder) + count(decoder(queries, out))
        assert total == totals[i], (queries, out)


@pytest.mark.parametrize('i', range(5), ids=BACKBONES)
def test_auxiliary_semantic_decoder(i):
    with torch.device('meta'):
        branch = AuxiliarySemanticDecoder(backbone(BACKBONES[i]).channels, 134)
    assert count(branch) == AUXILIARY[i]


def test_axial_block_of_stage_os16():
    with torch.device('meta'):
        block = KMaXPixelDecoder((96, 192, 384, 768)).stages[1][1]
    assert block.shortcut is None
    assert count(block) == 2_238_816
    branch = block.branch
    parts = [count(m) for m in (branch.conv1, branch.height, branch.width, branch.conv3)]
    assert parts == [525_312, 593_584, 593_584, 526_336]
    tables = (branch.height.query_table, branch.height.key_table, branch.height.value_table)
    assert sum(t.numel() for t in tables) == 65_152


def test_transformer_decoder():
    model = decoder(128, 134)
    assert count(model) == 11_921_048
    layers = [count(layer) for layer in model.layers]
    assert layers == [2_148_888] * 2 + [1_886_744] * 2 + [1_755_672] * 2
    layer = model.layers[4]
    assert count(layer.pixel_conv) == 131_584
    assert count(layer.query_conv) == 66_048
    assert count(layer.query_qkv) == 132_096
    assert count(layer.pixel_value) == 66_048
    assert count(layer.similarity_bn) + count(layer.attention_bn) == 528
    assert count(layer.attention_out) == count(layer.kmeans_out) == 66_048
    assert count(layer.kmeans_bn) == 512
    assert (count(layer.ffn_in), count(layer.ffn_out)) == (528_384, 524_800)


@pytest.mark.parametrize(('queries', 'out'), [(128, 134), (40, 41), (16, 1), (8, 3)])
def test_transformer_decoder_formula(queries, out):
    assert count(decoder(queries, out)) == 11_647_214 + 256 * queries + 1_799 * out


def test_predictor():
    predictor = decoder(128, 134).layers[0].predictor
    assert count(predictor) == 173_576
    head = [count(m) for m in predictor.pixel_head]
    assert head == [6_912, 66_048, 33_152]
    assert count(predictor.mask_head) == 33_024
    assert count(predictor.value_head) == 257 * 134
    assert count(predictor.mask_bn) == 2
