"""The shared embedding of MT-CP: identities, checkpoints, and the head it is taken from."""

import importlib.util

import pytest
import torch
import torch.nn.functional as F

from mmdense.models.necks import Mask2FormerEmbedding
from mmdense.models.necks.mask2former_embedding import scaled_by_masks
from mmdense.models.utils.mask2former_keys import convert_mask2former_keys
from mmdense.structures import DenseFeatures
from mmdense.utils import MissingDependencyError

COMPILED = all(importlib.util.find_spec(name) for name in ('mmdet', 'mmcv._ext'))
needs_ops = [
    pytest.mark.ops,
    pytest.mark.skipif(not COMPILED, reason='needs mmdet and the compiled ops of mmcv'),
]
WIDTHS = (8, 16, 32, 64)
SMALL = dict(
    num_queries=7,
    encoder_layers=2,
    decoder_layers=4,
    num_heads=4,
    encoder_channels=48,
    decoder_channels=40,
)


def with_ops(function):
    for mark in needs_ops:
        function = mark(function)
    return function


def maps(size=(24, 32), batch=2):
    return tuple(
        torch.randn(batch, c, size[0] // 2**i, size[1] // 2**i) for i, c in enumerate(WIDTHS)
    )


def make(**options):
    return Mask2FormerEmbedding(WIDTHS, 32, **SMALL, **options).eval()


def former_names(weights):
    """Names before mmdet 3.0 took DETR apart."""
    renamed = {}
    for key, value in weights.items():
        if 'pixel_decoder.encoder' in key:
            key = key.replace('.self_attn.', '.attentions.0.')
        if 'transformer_decoder' in key:
            key = key.replace('.cross_attn.', '.attentions.0.').replace(
                '.self_attn.', '.attentions.1.'
            )
        renamed[key.replace('.ffn.', '.ffns.0.')] = value
    return renamed


def test_scaling_equals_the_sum_over_instances():
    e, p = torch.randn(2, 9, 6).double(), torch.randn(2, 6, 5, 7).double()
    masks = torch.einsum('bnc,bchw->bnhw', e, p)
    direct = (masks[:, :, None] * p[:, None]).sum(dim=1)
    torch.testing.assert_close(scaled_by_masks(e, p), direct, rtol=1e-12, atol=1e-12)
    direct = (masks.sigmoid()[:, :, None] * p[:, None]).sum(dim=1)
    torch.testing.assert_close(scaled_by_masks(e, p, 'sigmoid'), direct, rtol=1e-12, atol=1e-12)


def test_scaling_is_made_in_full_precision():
    """The sum of a hundred logits does not fit eight bits of mantissa."""
    e, p = 10 * torch.randn(1, 100, 64), 10 * torch.randn(1, 64, 3, 4)
    want = scaled_by_masks(e.double(), p.double())
    with torch.autocast('cpu', torch.bfloat16):
        got = scaled_by_masks(e, p)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, want.float(), rtol=1e-3, atol=0.5)


def test_former_names_are_understood():
    names = [
        'pixel_decoder.encoder.layers.3.self_attn.value_proj.weight',
        'pixel_decoder.encoder.layers.3.ffn.layers.0.0.weight',
        'transformer_decoder.layers.8.cross_attn.attn.in_proj_weight',
        'transformer_decoder.layers.8.self_attn.attn.in_proj_weight',
        'transformer_decoder.layers.8.ffn.layers.1.bias',
        'mask_embed.4.weight',
    ]
    old = former_names(dict.fromkeys(names, torch.zeros(1)))
    assert 'transformer_decoder.layers.8.attentions.1.attn.in_proj_weight' in old
    assert list(convert_mask2former_keys(old)) == names
    assert list(convert_mask2former_keys(dict.fromkeys(names))) == names
    assert not convert_mask2former_keys({'decode_head.cls_embed.weight': torch.zeros(1)})


@pytest.mark.skipif(COMPILED, reason='the compiled ops are there')
def test_message_where_the_ops_are_not_compiled():
    with pytest.raises(MissingDependencyError, match=r'Mask2FormerEmbedding .*needs `mmcv.ops`'):
        Mask2FormerEmbedding(WIDTHS, 32)


@pytest.mark.parametrize(
    'options', [dict(channels=40), dict(in_channels=(8, 16, 32)), dict(mask_activation='relu')]
)
def test_what_is_refused(options):
    with pytest.raises(ValueError, match='Mask2FormerEmbedding'):
        Mask2FormerEmbedding(**{**dict(in_channels=WIDTHS, channels=32), **options})


@with_ops
def test_parameters():
    """Those of the public model less its class layer of 38,807."""
    with torch.device('meta'):
        neck = Mask2FormerEmbedding((96, 192, 384, 768))
    count = {name: sum(p.numel() for p in m.parameters()) for name, m in neck.named_children()}
    assert sum(count.values()) == 19_918_935 - 38_807
    assert count['pixel_decoder'] == 5_421_504 and count['transformer_decoder'] == 14_209_280
    assert count['mask_embed'] == 197_376 and count['query_embed'] == 25_600
    # 649 entries: 357 of the backbone, 2 of the class layer.
    assert len(neck.state_dict()) == 649 - 357 - 2


@with_ops
def test_equals_the_head_of_mmdet():
    """Its masks of the last layer, times the pixel embedding, summed over all queries."""
    from mmdet.models.dense_heads import Mask2FormerHead

    from mmdense.models.necks.mask2former_embedding import ConfigDict, _decoder, _encoder

    neck = make()
    position = ConfigDict(num_feats=16, normalize=True)
    head = Mask2FormerHead(
        in_channels=list(WIDTHS),
        strides=[4, 8, 16, 32],
        feat_channels=32,
        out_channels=32,
        num_things_classes=3,
        num_stuff_classes=2,
        num_queries=7,
        pixel_decoder=ConfigDict(
            type='MSDeformAttnPixelDecoder',
            num_outs=3,
            encoder=_encoder(32, 2, 4, 48),
            positional_encoding=position,
            _scope_='mmdet',
        ),
        transformer_decoder=_decoder(32, 4, 4, 40),
        positional_encoding=position,
        loss_cls=ConfigDict(type='mmdet.CrossEntropyLoss', class_weight=[1.0] * 6),
        loss_mask=ConfigDict(type='mmdet.CrossEntropyLoss', use_sigmoid=True),
        loss_dice=ConfigDict(type='mmdet.DiceLoss'),
    ).eval()
    report = head.load_state_dict(neck.state_dict(), strict=False)
    assert report.missing_keys == ['cls_embed.weight', 'cls_embed.bias']
    assert not report.unexpected_keys
    levels = maps()
    with torch.no_grad():
        # Sharper masks, so that many keys are blocked.
        for module in (neck, head):
            module.mask_embed[4].weight.mul_(5)
        masks = head(list(levels), [])[1][-1]
        pixels = head.pixel_decoder(list(levels))[0]
        got = neck(DenseFeatures(shared=levels)).shared[0]
    want = masks.sum(dim=1, keepdim=True) * pixels
    torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-3 * want.abs().max().item())


@with_ops
@pytest.mark.parametrize('names', ['today', 'former'])
def test_weights_of_both_files_load(names, tmp_path):
    source, levels = make(), maps()
    weights = source.state_dict()
    if names == 'former':
        weights = former_names(weights)
    weights = {f'decode_head.{key}': value for key, value in weights.items()}
    weights['decode_head.cls_embed.weight'] = torch.zeros(6, 32)
    weights['backbone.norm0.weight'] = torch.zeros(8)
    torch.save(dict(state_dict=weights), tmp_path / 'mask2former.pth')
    start = dict(
        type='Pretrained', checkpoint=str(tmp_path / 'mask2former.pth'), prefix='decode_head.'
    )
    torch.manual_seed(5)
    target = make(init_cfg=start)
    assert not torch.equal(target.query_feat.weight, source.query_feat.weight)
    target.init_weights()
    with torch.no_grad():
        got, want = (neck(DenseFeatures(shared=levels)).shared[0] for neck in (target, source))
    assert torch.equal(got, want)


@with_ops
def test_a_parameter_without_a_weight_is_refused(tmp_path):
    weights = {f'decode_head.{k}': v for k, v in make().state_dict().items()}
    del weights['decode_head.level_embed.weight']
    torch.save(weights, tmp_path / 'short.pth')
    start = dict(type='Pretrained', checkpoint=str(tmp_path / 'short.pth'), prefix='decode_head.')
    with pytest.raises(ValueError, match=r'level_embed\.weight'):
        make(init_cfg=start).init_weights()


@with_ops
def test_initialisation_survives_and_every_parameter_has_a_gradient():
    neck = make().train()
    before = {k: v.clone() for k, v in neck.state_dict().items()}
    neck.init_weights()
    assert all(torch.equal(before[k], v) for k, v in neck.state_dict().items())
    neck(DenseFeatures(shared=maps())).shared[0].sin().sum().backward()
    assert not [name for name, p in neck.named_parameters() if p.grad is None]


@with_ops
def test_weights_load_through_the_model(tmp_path):
    """mmengine reaches the embedding inside the neck of a model."""
    from mmdense.registry import MODELS

    torch.save({f'decode_head.{k}': v for k, v in make().state_dict().items()}, tmp_path / 'a.pth')
    embedding = dict(type='Mask2FormerEmbedding', in_channels=WIDTHS, channels=32, **SMALL)
    embedding['init_cfg'] = dict(
        type='Pretrained', checkpoint=str(tmp_path / 'a.pth'), prefix='decode_head.'
    )
    model = MODELS.build(
        dict(
            type='DensePredictor',
            tasks=dict(depth=dict(type='Depth')),
            backbone=dict(type='ResNet', depth=18, stem_channels=8, base_channels=8),
            neck=dict(
                type='MTCPNeck', channels=32, embedding=embedding, with_cfm=False, with_srm=False
            ),
            heads=dict(depth=dict(type='PointwiseDepthHead', in_channels=32)),
        ),
        default_args=dict(_scope_='mmdense'),
    )
    model.init_weights()
    loaded = torch.load(tmp_path / 'a.pth')
    for key, value in model.neck[0].embedding.state_dict().items():
        assert torch.equal(value, loaded[f'decode_head.{key}']), key


@with_ops
def test_attention_masks_from_resized_pixels():
    """Resizing commutes with the product over channels; a query without a mask sees all."""
    neck = make()
    query, pixels = neck.query_feat.weight[None], torch.randn(1, 32, 12, 16)
    small = F.interpolate(pixels, size=(3, 4), mode='bilinear')
    blocked = neck._blocked(query, small.flatten(2))
    assert blocked.shape == (4, 7, 12)
    logits = torch.einsum('bnc,bchw->bnhw', neck._mask_embedding(query), pixels)
    logits = F.interpolate(logits, size=(3, 4), mode='bilinear').flatten(2)
    want = logits[0] < 0
    want[want.all(dim=-1)] = False
    clear = logits[0].abs() > 1e-5
    assert torch.equal(blocked[0][clear], want[clear]) and clear.float().mean() > 0.9
    assert torch.equal(blocked[0], blocked[3])
    assert not blocked.all(dim=-1).any()
