import copy

import pytest
import torch
import torch.nn.functional as F

from mmdense.models.necks import PreliminaryDecoder, UPTransformer
from mmdense.structures import DenseFeatures
from mmdense.utils import ShapeError

NYUD = dict(semseg=40, depth=1, normal=3, boundary=1)
PASCAL = dict(semseg=21, part=7, saliency=2, normal=3, boundary=1)
PAIR = dict(semseg=5, depth=1)


def count(module):
    return sum(p.numel() for p in module.parameters())


def necks(tasks=PAIR, width=6, channels=8, **kwargs):
    decoder = PreliminaryDecoder(
        list(tasks), tasks, width, channels=7, embed_dim=channels, **kwargs.pop('decoder', {})
    )
    transformer = UPTransformer(
        list(tasks), **{'skip_channels': (width,) * 2, 'channels': channels, **kwargs}
    )
    return decoder, transformer


def features(size=(4, 6), batch=2, width=6, dtype=torch.float32):
    return DenseFeatures(
        shared=tuple(torch.randn(batch, width, *size, dtype=dtype) for _ in '1234')
    )


@pytest.mark.parametrize(
    ('tasks', 'width', 'preliminary', 'transformer', 'skips'),
    [
        # Closed forms: two convolutions and their norms, prediction, embedding.
        (NYUD, 1024, 56_658_477 + 1_207_872, 29_443_844 + 3_981_744, 3_981_744),
        (PASCAL, 1024, 70_811_682 + 1_497_024, 35_495_156 + 3_981_744, 3_981_744),
        (NYUD, 768, 35_422_765 + 1_207_872, 29_443_844 + 2_986_416, 2_986_416),
    ],
)
def test_number_of_parameters(tasks, width, preliminary, transformer, skips):
    with torch.device('meta'):
        decoder = PreliminaryDecoder(list(tasks), tasks, width)
        up = UPTransformer(list(tasks), (width, width))
    assert (count(decoder), count(up), count(up.skips)) == (preliminary, transformer, skips)
    mid = 9 * width * width + 2 * width + 9 * width * 512 + 2 * 512
    logits = sum(tasks.values())
    assert count(decoder.decoders) == len(tasks) * mid
    assert count(decoder.predictors) == 513 * logits
    assert count(decoder.embeddings) == 576 * (513 * len(tasks) + logits)


@pytest.mark.parametrize(
    ('tasks', 'tokens', 'grids', 'keys', 'fused'),
    [
        (NYUD, (28, 36), [(14, 18), (28, 36), (56, 72)], 7 * 9, (112, 144)),
        (PASCAL, (32, 32), [(16, 16), (32, 32), (64, 64)], 8 * 8, (128, 128)),
    ],
)
def test_shapes_at_every_step(tasks, tokens, grids, keys, fused):
    """Without numbers, at the published sizes."""
    with torch.device('meta'):
        decoder = PreliminaryDecoder(list(tasks), tasks, 1024)
        up = UPTransformer(list(tasks), (1024, 1024))
        feats = DenseFeatures(shared=tuple(torch.empty(1, 1024, *tokens) for _ in '1234'))
    seen = []
    for stage in up.stages:
        stage.register_forward_hook(lambda module, args, out: seen.append(out))
    count = len(tasks)
    feats = decoder(feats)
    for task, logits in tasks.items():
        assert feats.per_task[task].shape == (1, 576, *grids[0])
        assert feats.intermediate[task][0].shape == (1, logits, *grids[0])
    feats = up(feats)
    for i, (x, size, scores) in enumerate(seen):
        height, width = grids[i]
        assert size == grids[i] and x.shape == (1, count * height * width, 576 // 2**i)
        if i < 2:
            assert scores.shape == (1, 2, count * height * width // 4, count * keys)
    assert seen[2][2] is None
    assert {x.shape for x in feats.per_task.values()} == {(1, 576, *fused)}


def test_whole_decoder_is_that_of_a_loop_over_two_tasks():
    """Every step of the paper written out for single tasks; attention has its own loop test."""
    decoder, up = (neck.double().eval() for neck in necks())
    feats = features(dtype=torch.double)
    result = up(decoder(feats)).per_task

    last = F.avg_pool2d(feats.shared[-1], 2)  # bilinear to half the size
    maps = {}
    for task in PAIR:
        y = decoder.decoders[task](last)
        maps[task] = decoder.embeddings[task](torch.cat([y, decoder.predictors[task](y)], 1))
    scores, query_size, scales = None, (1, 1), []
    for i, stage in enumerate(up.stages):
        if i:
            skip = up.skips[i - 1](feats.shared[(1, 0)[i - 1]])
            for task, x in maps.items():
                x = F.interpolate(x, scale_factor=2, mode='bilinear')
                for conv, norm, relu in stage.up[task]:
                    x = relu(norm(F.conv2d(x, conv.weight, padding=2, dilation=2)))
                maps[task] = x + skip
        size = maps['semseg'].shape[-2:]
        normed = torch.cat([stage.norm1(x.flatten(2).mT) for x in maps.values()], 1)
        mixed, scores = stage.attention(normed, tuple(size), scores, query_size)
        query_size = tuple(-(-n // 2) for n in size)
        for (task, x), own in zip(maps.items(), mixed.chunk(2, dim=1)):
            coarse = own.mT.unflatten(2, query_size)
            x = x + F.interpolate(coarse, size=size, mode='bilinear')
            y = x.flatten(2).mT
            y = y + stage.fc2(F.gelu(stage.fc1(stage.norm2(y))))
            maps[task] = y.mT.unflatten(2, tuple(size))
        scales.append(dict(maps))
    fine = tuple(2 * n for n in size)
    totals = dict.fromkeys(PAIR, 0)
    for i, own in enumerate(scales):
        beside = torch.cat(list(own.values()), 1).permute(0, 2, 3, 1)
        normed = up.norms[i](beside).permute(0, 3, 1, 2).chunk(2, dim=1)
        for task, x in zip(PAIR, normed):
            x = up.reductions[i - 1][task](x) if i else x
            totals[task] = totals[task] + F.interpolate(x, size=fine, mode='bilinear')
    for task, x in totals.items():
        torch.testing.assert_close(result[task], up.outputs[task](x))


def test_order_of_tasks_does_not_matter():
    """The same layers under exchanged tasks give exchanged maps."""
    decoder, up = (neck.double().eval() for neck in necks())
    feats = features(dtype=torch.double)
    turned = UPTransformer(list(PAIR)[::-1], (6, 6), 8).double().eval()
    weights = copy.deepcopy(up.state_dict())
    for name in weights:
        if name.startswith('norms.'):
            weights[name] = torch.cat(weights[name].chunk(2)[::-1])
    turned.load_state_dict(weights)
    feats = decoder(feats)
    expected, found = up(feats).per_task, turned(feats).per_task
    for task in PAIR:
        torch.testing.assert_close(found[task], expected[task])


@pytest.mark.parametrize('size', [(4, 6), (3, 5), (2, 6)])
@pytest.mark.parametrize('batch', [1, 2])
def test_every_parameter_gets_a_gradient_at_any_size(size, batch):
    decoder, up = necks()
    feats = up(decoder(features(size, batch)))
    grid = tuple(-(-n // 2) for n in size)
    outputs = [*feats.per_task.values(), *(x for (x,) in feats.intermediate.values())]
    assert {x.shape[-2:] for x in feats.per_task.values()} == {tuple(8 * n for n in grid)}
    sum(x.square().sum() for x in outputs).backward()
    missing = [n for neck in (decoder, up) for n, p in neck.named_parameters() if p.grad is None]
    assert not missing


def test_hierarchical_encoder_joins_by_stride():
    """Strides 4 to 32: no halving, plain convolutions, nothing transposed."""
    widths, sizes = (4, 6, 8, 10), ((33, 48), (17, 24), (9, 12), (5, 6))
    decoder = PreliminaryDecoder(list(PAIR), PAIR, 10, 7, embed_dim=8, downsample=1)
    up = UPTransformer(
        list(PAIR), (8, 6), channels=8, skip_index=(2, 1), skip_strides=(16, 8), stride=32
    )
    assert [type(skip).__name__ for skip in up.skips] == ['Conv2d', 'Conv2d']
    shared = tuple(torch.randn(1, c, *s) for c, s in zip(widths, sizes))
    feats = up(decoder(DenseFeatures(shared=shared)))
    assert feats.per_task['depth'].shape == (1, 8, 40, 48)
    assert feats.intermediate['semseg'][0].shape == (1, 5, 5, 6)
    assert feats.shared is shared


def test_bf16_autocast_stays_close():
    decoder, up = (neck.eval() for neck in necks())
    feats = features()
    expected = up(decoder(feats)).per_task
    with torch.autocast('cpu', torch.bfloat16):
        found = up(decoder(feats)).per_task
    for task in PAIR:
        torch.testing.assert_close(found[task].float(), expected[task], rtol=0.1, atol=0.1)


@pytest.mark.slow
def test_exports_with_any_number_of_pictures():
    class Both(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.decoder, self.up = necks()

        def forward(self, x):
            feats = self.up(self.decoder(DenseFeatures(shared=(x,) * 4)))
            return [feats.per_task[task] for task in PAIR]

    model = Both().eval()
    batch = torch.export.Dim('batch', min=2)
    x = torch.randn(2, 6, 4, 6)
    program = torch.export.export(model, (x,), dynamic_shapes=({0: batch},))
    x = torch.randn(3, 6, 4, 6)
    for found, expected in zip(program.module()(x), model(x)):
        torch.testing.assert_close(found, expected)


def test_earlier_predictions_are_kept():
    decoder, _ = necks()
    before = dict(semseg=[torch.zeros(1)])
    feats = decoder(features().replace(intermediate=before))
    assert len(feats.intermediate['semseg']) == 2 and len(before['semseg']) == 1


@pytest.mark.parametrize(
    ('build', 'text'),
    [
        (lambda: necks(skip_strides=(16, 4)), r'scale 2 has stride 8.*stride 4'),
        (lambda: necks(skip_index=(1,)), 'one entry per scale'),
        (lambda: necks(channels=12), r'channels=12 cannot be halved 2 times'),
        (lambda: PreliminaryDecoder(['depth'], {}, 6), r"lacks \['depth'\]"),
        (lambda: necks(decoder=dict(downsample=0)), 'positive factor'),
    ],
)
def test_wrong_options(build, text):
    with pytest.raises(ValueError, match=text):
        build()


def test_wrong_maps():
    decoder, up = necks()
    with pytest.raises(ShapeError, match='PreliminaryDecoder: the map it reads has 5 channels'):
        decoder(features(width=5))
    with pytest.raises(ShapeError, match=r'in_index is -1, but there are 0'):
        decoder(DenseFeatures())
    feats = decoder(features())
    with pytest.raises(ShapeError, match=r'skip_index names map 1, but there are 1'):
        up(feats.replace(shared=feats.shared[:1]))
    with pytest.raises(ShapeError, match='UPTransformer: the map it reads has 9 channels'):
        up(feats.replace(shared=(torch.randn(2, 9, 4, 6),) * 4))
