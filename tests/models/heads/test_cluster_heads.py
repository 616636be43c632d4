"""Cluster heads on a decoder small enough to follow by hand."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mmdense.models  # noqa: F401  (fills the registry)
from mmdense.models.heads import ClusterPrediction
from mmdense.models.heads.cluster_head import combine
from mmdense.registry import MODELS
from mmdense.structures import DenseFeatures
from mmdense.tasks import build_tasks

CHANNELS = (8, 12, 16, 20)
CLASSES = 4
TASKS = build_tasks(
    dict(
        semseg=dict(type='SemSeg', num_classes=CLASSES),
        depth=dict(type='Depth', min_depth=0.5, max_depth=8.0),
        normal=dict(type='Normal'),
        saliency=dict(type='Saliency'),
    )
)
DECODER = dict(type='TestClusterDecoder')


@MODELS.register_module(name='TestClusterDecoder', force=True)
class ClusterDecoder(nn.Module):
    """1x1 convolutions for masks and embeddings, learned vectors; two auxiliary layers."""

    def __init__(self, in_channels, num_queries, out_channels, void_bias=False):
        super().__init__()
        torch.manual_seed(0)
        self.masks = nn.ModuleList(nn.Conv2d(c, num_queries, 1) for c in in_channels[:3])
        self.embeddings = nn.ModuleList(nn.Conv2d(c, 6, 1) for c in in_channels[:3])
        self.values = nn.Parameter(2 * torch.randn(3, num_queries, out_channels))
        self.void_bias = void_bias

    def forward(self, maps, align_corners, auxiliary):
        predictions = [
            ClusterPrediction(
                mask(x),
                value.expand(len(x), -1, -1) if value.numel() else None,
                F.normalize(embedding(x), dim=1),
            )
            for mask, embedding, value, x in zip(self.masks, self.embeddings, self.values, maps)
        ][::-1]
        return predictions if auxiliary else predictions[-1:]


def features(images=2, size=(32, 48)):
    rng = torch.Generator().manual_seed(0)
    odd = size[1] % 2
    maps = tuple(
        torch.randn(images, c, *((n - odd) // s + odd for n in size), generator=rng)
        for c, s in zip(CHANNELS, (4, 8, 16, 32))
    )
    return DenseFeatures(shared=maps, backbone=maps, image_size=size)


def ground_truth(key, images=2, size=(32, 48)):
    rng = torch.Generator().manual_seed(1)
    unknown = torch.rand(images, 1, *size, generator=rng) < 0.2
    if key == 'normal':
        target = F.normalize(torch.randn(images, 3, *size, generator=rng), dim=1)
    elif key == 'depth':
        target = 0.6 + 7 * torch.rand(images, 1, *size, generator=rng)
    else:
        top = CLASSES if key == 'semseg' else 2
        target = torch.randint(0, top, (images, 1, *size), generator=rng).to(torch.uint8)
    target = torch.where(unknown, torch.tensor(TASKS[key].ignore_value).to(target.dtype), target)
    return target, TASKS[key].valid_mask(target)


def build(kind, key, **kwargs):
    kwargs.setdefault('decoder', DECODER)
    return MODELS.build(
        dict(type=kind, in_channels=CHANNELS, **kwargs), default_args=dict(task=TASKS[key])
    )


def permute_clusters(head, order):
    with torch.no_grad():
        for mask in head.decoder.masks:
            mask.weight.copy_(mask.weight[order])
            mask.bias.copy_(mask.bias[order])
        head.decoder.values.copy_(head.decoder.values[:, order])


def test_combination_equals_a_loop():
    logits, values = torch.randn(2, 5, 3, 4), torch.randn(2, 5, 3)
    shares = logits.softmax(1)
    want = sum(shares[:, k, None] * values[:, k, :, None, None] for k in range(5))
    assert torch.allclose(combine(logits, values), want, atol=1e-6)


def test_combination_runs_in_fp32_under_autocast():
    logits, values = torch.randn(2, 5, 3, 4), torch.randn(2, 5, 3)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        y = combine(logits.bfloat16(), values)
    assert y.dtype == torch.float32
    assert torch.equal(y, combine(logits.bfloat16().float(), values))


ORDER_FREE = [
    ('ClusterHead', 'depth', dict(num_clusters=6)),
    ('ClusterHead', 'saliency', dict(num_clusters=6)),
    ('ClusterBinDepthHead', 'depth', dict(bin_centers='sigmoid')),
    ('ClusterBinDepthHead', 'depth', dict(bin_centers='log_sigmoid')),
    ('ClusterBinDepthHead', 'depth', dict(bin_centers='softplus')),
    ('SphereSegmentNormalHead', 'normal', dict()),
    ('SphereSegmentNormalHead', 'normal', dict(normalize_centers=False)),
    ('SphereSegmentNormalHead', 'normal', dict(upsample_logits_first=True)),
]


@pytest.mark.parametrize('kind, key, kwargs', ORDER_FREE)
def test_order_of_the_clusters_does_not_matter(kind, key, kwargs):
    head, feats = build(kind, key, **kwargs), features()
    want = head.predict(feats, (32, 48))
    permute_clusters(head, torch.randperm(head.num_clusters))
    assert torch.allclose(head.predict(feats, (32, 48)), want, atol=1e-5)


@pytest.mark.parametrize('kind, key, kwargs', ORDER_FREE)
@pytest.mark.parametrize('size', [(32, 48), (33, 49)])
def test_losses_of_all_layers(kind, key, kwargs, size):
    head, feats = build(kind, key, **kwargs), features(size=size)
    named = head.loss(feats, *ground_truth(key, size=size))
    (final,) = [name for name in named if '.' not in name]
    assert set(named) == {final, f'aux0.{final}', f'aux1.{final}'}
    sum(named.values()).backward()
    masks_and_values = (*head.decoder.masks.parameters(), head.decoder.values)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in masks_and_values)
    assert head.predict(feats, size).shape == (2, TASKS[key].num_channels, *size)


def test_auxiliary_layers_are_compared_at_stride_4():
    head, feats = build('ClusterHead', 'depth', num_clusters=6), features()
    target, mask = ground_truth('depth')
    named = head.loss(feats, target, mask)
    predictions = head.decode_clusters(feats, auxiliary=True)
    for i, name in enumerate(('aux0.loss_masked_l1', 'aux1.loss_masked_l1')):
        y = combine(predictions[i].mask_logits, predictions[i].values)
        pred = F.softplus(F.interpolate(y, size=(8, 12), mode='bilinear'))
        error = (pred - target[..., ::4, ::4]).abs()[mask[..., ::4, ::4]].mean()
        assert torch.allclose(named[name], error)
    pred = F.softplus(F.interpolate(head(feats), size=(32, 48), mode='bilinear'))
    assert torch.allclose(named['loss_masked_l1'], (pred - target).abs()[mask].mean())


def test_edges_are_asked_of_the_final_output_only():
    losses = [dict(type='SILogLoss'), dict(type='MultiScaleGradientLoss')]
    head = build('ClusterBinDepthHead', 'depth', losses=losses)
    assert set(head.loss(features(), *ground_truth('depth'))) == {
        'loss_silog',
        'loss_multi_scale_gradient',
        'aux0.loss_silog',
        'aux1.loss_silog',
    }


def test_without_deep_supervision_there_are_no_auxiliary_losses():
    head = build('ClusterBinDepthHead', 'depth', deep_supervision=False)
    assert set(head.loss(features(), *ground_truth('depth'))) == {'loss_masked_l1'}


def test_intermediate_predictions_of_necks_are_numbered_on():
    head, feats = build('ClusterBinDepthHead', 'depth'), features()
    feats.intermediate['depth'] = [torch.randn(2, 1, 8, 12)]
    assert 'aux2.loss_masked_l1' in head.loss(feats, *ground_truth('depth'))


@pytest.mark.parametrize(
    'kind, key', [('ClusterBinDepthHead', 'depth'), ('SphereSegmentNormalHead', 'normal')]
)
def test_no_labels_at_all_is_zero_in_the_graph(kind, key):
    head = build(kind, key)
    target, mask = ground_truth(key)
    named = head.loss(features(), target * 0, torch.zeros_like(mask))
    assert all(value == 0 for value in named.values())
    sum(named.values()).backward()
    assert all((p.grad == 0).all() for p in head.decoder.masks.parameters())


def test_cluster_maps_recombine_to_the_prediction():
    head, feats = build('ClusterBinDepthHead', 'depth', upsample_logits_first=True), features()
    shares, values = head.cluster_maps(feats, (32, 48))
    assert shares.shape == (2, 16, 32, 48) and values.shape == (2, 16, 1)
    assert torch.allclose(shares.sum(1), torch.ones(2, 32, 48), atol=1e-5)
    y = torch.einsum('bkhw,bkd->bdhw', shares, values)
    assert torch.allclose(y, head.predict(feats, (32, 48)), atol=1e-5)
    shown = head.explain(feats)
    maps, values = shown['clusters']
    assert maps.shape == (2, 16, 8, 12) and values.shape == (2, 16, 1)


# -- ranges and activations -------------------------------------------------------


@pytest.mark.parametrize('form', ['sigmoid', 'log_sigmoid', 'adabins'])
@pytest.mark.parametrize('scale', [0.01, 1.0, 100.0])
def test_bounded_bins_stay_in_the_range(form, scale):
    head = build('ClusterBinDepthHead', 'depth', bin_centers=form)
    with torch.no_grad():
        head.decoder.values.mul_(scale)
    depth = head.predict(features(), (32, 48))
    assert depth.min() >= 0.5 - 1e-5 and depth.max() <= 8 + 1e-5


def test_softplus_bins_are_positive_and_unbounded():
    head = build('ClusterBinDepthHead', 'depth', bin_centers='softplus')
    assert (head.predict(features(), (32, 48)) > 0).all()
    with torch.no_grad():
        head.decoder.values.fill_(50.0)
    assert (head.predict(features(), (32, 48)) > 40).all()


def test_bin_centers_at_zero_output():
    zeros = torch.zeros(1, 4, 1)
    centers = {
        form: build(
            'ClusterBinDepthHead',
            'depth',
            num_clusters=4,
            bin_centers=form,
            min_depth=1.0,
            max_depth=9.0,
        )
        .activate_values(zeros)[0, :, 0]
        .tolist()
        for form in ('sigmoid', 'log_sigmoid', 'adabins', 'softplus')
    }
    assert centers['sigmoid'] == pytest.approx([5.0] * 4)
    assert centers['log_sigmoid'] == pytest.approx([3.0] * 4)
    assert centers['adabins'] == pytest.approx([2.0, 4.0, 6.0, 8.0])
    assert centers['softplus'] == pytest.approx([math.log(2)] * 4)


@pytest.mark.parametrize('options', [dict(), dict(upsample_logits_first=True)])
@pytest.mark.parametrize('normalize_centers', [True, False])
def test_normals_have_unit_length(options, normalize_centers):
    head = build(
        'SphereSegmentNormalHead', 'normal', normalize_centers=normalize_centers, **options
    )
    normals = head.predict(features(), (30, 47))
    assert torch.allclose(normals.norm(dim=1), torch.ones(2, 30, 47), atol=1e-5)
    centers = head.cluster_maps(features())[1]
    assert torch.allclose(centers.norm(dim=2), torch.ones(2, 8), atol=1e-5) == normalize_centers


def test_ranges_per_dimension():
    head = build('ClusterHead', 'normal', num_clusters=5, value_range=[(-1, 1), (0, 2), (5, 6)])
    y = head.predict(features(), (32, 48))
    for d, (low, high) in enumerate([(-1, 1), (0, 2), (5, 6)]):
        assert y[:, d].min() >= low and y[:, d].max() <= high


def test_sigmoid_values_default_to_the_unit_range():
    head = build('ClusterHead', 'saliency', num_clusters=5, activation='sigmoid')
    y = head.predict(features(), (32, 48))
    assert y.min() >= 0 and y.max() <= 1


def test_other_output_dimensions():
    head = build('ClusterHead', 'saliency', num_clusters=5, out_channels=7)
    assert head(features()).shape == (2, 7, 8, 12)


def test_autocast_changes_little():
    for kind, key in (('ClusterBinDepthHead', 'depth'), ('SphereSegmentNormalHead', 'normal')):
        head, feats = build(kind, key), features()
        full = head.predict(feats, (32, 48))
        with torch.autocast('cpu', dtype=torch.bfloat16):
            half = head.predict(feats, (32, 48))
        assert half.dtype == torch.float32
        assert (half - full).abs().mean() < 0.02


# -- segmentation -----------------------------------------------------------------


@MODELS.register_module(name='TestSemanticBranch', force=True)
class SemanticBranch(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.conv = nn.Conv2d(in_channels[0], out_channels, 1)

    def forward(self, maps, align_corners):
        return self.conv(maps[0])


TERMS = {'loss_mask_id', 'loss_dice', 'loss_class', 'loss_instance'}


@pytest.mark.parametrize(
    'matching, clusters', [('fixed', None), ('hungarian', 4), ('hungarian', 7)]
)
@pytest.mark.parametrize('size', [(32, 48), (33, 49)])
def test_segmentation_losses_and_prediction(matching, clusters, size):
    head = build('ClusterSegHead', 'semseg', num_clusters=clusters, matching=matching)
    feats = features(size=size)
    named = head.loss(feats, *ground_truth('semseg', size=size))
    assert set(named) == TERMS | {f'aux{i}.{t}' for i in (0, 1) for t in TERMS}
    sum(named.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())
    pred = head.predict(feats, size)
    assert pred.shape == (2, CLASSES, *size)
    assert head(feats).shape[:2] == (2, CLASSES)
    shares, classes = head.cluster_maps(feats)
    assert shares.shape[1] == classes.shape[1] == (clusters or CLASSES)
    assert torch.allclose(classes.sum(-1), torch.ones(2, clusters or CLASSES))


def test_fixed_matching_predicts_the_mask_logits():
    head, feats = build('ClusterSegHead', 'semseg'), features()
    logits = head.decode_clusters(feats)[-1].mask_logits
    want = F.interpolate(logits, size=(32, 48), mode='bilinear')
    assert torch.equal(head.predict(feats, (32, 48)), want)


def test_hungarian_matching_predicts_the_class_mixture():
    head = build('ClusterSegHead', 'semseg', num_clusters=6, matching='hungarian')
    feats = features()
    final = head.decode_clusters(feats)[-1]
    share = final.mask_logits.softmax(1)
    classes = final.values.softmax(-1)[..., :CLASSES]
    want = torch.einsum('bkhw,bkc->bchw', share, classes).log()
    assert torch.allclose(head.predict(feats, (8, 12)), want, atol=1e-5)
    before = head.predict(feats, (32, 48))
    permute_clusters(head, torch.randperm(6))
    assert torch.allclose(head.predict(feats, (32, 48)), before, atol=1e-5)


def test_class_head_can_be_left_out():
    head = build('ClusterSegHead', 'semseg', use_class_head=False)
    named = head.loss(features(), *ground_truth('semseg'))
    assert not any('class' in name for name in named)
    assert head.decoder.values.numel() == 0
    assert head.predict(features(), (32, 48)).shape == (2, CLASSES, 32, 48)


def test_semantic_branch_reads_the_backbone_in_training_only():
    branch = dict(type='TestSemanticBranch', in_channels=(5,))
    head = build('ClusterSegHead', 'semseg', auxiliary_semantic=branch)
    feats = features()
    feats.backbone = (torch.randn(2, 5, 8, 12),)
    named = head.loss(feats, *ground_truth('semseg'))
    assert 'loss_semantic' in named
    named['loss_semantic'].backward()
    assert head.auxiliary_semantic.conv.weight.grad is not None
    feats.backbone = ()
    assert head.predict(feats, (32, 48)).shape == (2, CLASSES, 32, 48)


def test_decoder_and_loss_are_told_about_the_classes():
    head = build('ClusterSegHead', 'semseg', seg_loss=dict(type='KMaXSegLoss', dice_weight=1.0))
    assert head.decoder.void_bias and head.decoder.values.shape[-1] == CLASSES + 1
    assert head.seg_loss.num_classes == CLASSES and head.seg_loss.weights['dice'] == 1.0


# -- wrong use --------------------------------------------------------------------


@pytest.mark.parametrize(
    'kind, key, kwargs, text',
    [
        ('ClusterSegHead', 'semseg', dict(num_clusters=3), r'num_clusters=3.*4 classes.*hungarian'),
        ('ClusterSegHead', 'semseg', dict(num_clusters=5), r'num_clusters=5.*Set num_clusters=4'),
        ('ClusterSegHead', 'semseg', dict(matching='best'), "matching is 'best'"),
        ('ClusterBinDepthHead', 'depth', dict(min_depth=9.0), r"heads\['depth'\]: min_depth=9.0"),
        ('ClusterBinDepthHead', 'depth', dict(max_depth=0.5), 'max_depth=0.5'),
        (
            'ClusterBinDepthHead',
            'depth',
            dict(min_depth=0.0, bin_centers='log_sigmoid'),
            'min_depth > 0',
        ),
        ('ClusterBinDepthHead', 'depth', dict(bin_centers='linear'), "bin_centers is 'linear'"),
        ('ClusterBinDepthHead', 'saliency', dict(), 'has no depth range'),
        ('ClusterHead', 'depth', dict(num_clusters=0), 'num_clusters is 0'),
        ('ClusterHead', 'depth', dict(num_clusters=4, activation='tanh'), "activation is 'tanh'"),
        ('ClusterHead', 'depth', dict(num_clusters=4, value_range=(3, 1)), 'low < high'),
        (
            'ClusterHead',
            'normal',
            dict(num_clusters=4, value_range=[(0, 1), (0, 1)]),
            '3 such pairs',
        ),
        (
            'ClusterHead',
            'depth',
            dict(num_clusters=4, value_range=(0, 1), activation='l2norm'),
            "needs activation='sigmoid'",
        ),
    ],
)
def test_impossible_configs_fail_at_build_time(kind, key, kwargs, text):
    with pytest.raises(ValueError, match=text):
        build(kind, key, **kwargs)
