"""Cluster heads on the kMaX decoder, at reduced widths."""

import pytest
import torch
import torch.nn.functional as F

import mmdense.models  # noqa: F401  (fills the registry)
from mmdense.registry import MODELS
from mmdense.structures import DenseFeatures
from mmdense.tasks import build_tasks

CHANNELS = (16, 24, 32, 40)
CLASSES = 5
TASKS = build_tasks(
    dict(
        semseg=dict(type='SemSeg', num_classes=CLASSES),
        depth=dict(
            type='Depth',
            losses=[
                dict(type='SILogLoss'),
                dict(type='RelativeSquaredErrorLoss'),
                dict(type='MultiScaleGradientLoss'),
            ],
        ),
        normal=dict(type='Normal', losses=[dict(type='MaskedL2Loss')]),
    )
)
DECODER = dict(
    type='KMaXTransformerDecoder',
    query_dim=16,
    base_filters=8,
    num_heads=2,
    ffn_dim=32,
    predictor_hidden=16,
    embed_dim=8,
    drop_path=0.0,
)
BRANCH = dict(
    type='AuxiliarySemanticDecoder',
    in_channels=CHANNELS,
    aspp_channels=16,
    projections=(8, 4),
    head_channels=16,
)
HEADS = dict(
    semseg=dict(type='ClusterSegHead', auxiliary_semantic=BRANCH),
    depth=dict(type='ClusterBinDepthHead', num_clusters=6),
    normal=dict(type='SphereSegmentNormalHead', num_clusters=4),
)


def build(key, **kwargs):
    torch.manual_seed(0)
    head = MODELS.build(
        dict(HEADS[key], in_channels=CHANNELS, decoder=DECODER, **kwargs),
        default_args=dict(task=TASKS[key]),
    )
    for module in head.modules():
        # Zero-gamma norms would hide the residual branches from the gradients.
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            torch.nn.init.normal_(module.weight, 1.0, 0.1)
    return head


def features(images=2, size=(64, 96)):
    rng = torch.Generator().manual_seed(0)
    odd = size[1] % 2
    maps = tuple(
        torch.randn(images, c, *((n - odd) // s + odd for n in size), generator=rng)
        for c, s in zip(CHANNELS, (4, 8, 16, 32))
    )
    return DenseFeatures(shared=maps, backbone=maps, image_size=size)


def ground_truth(key, images=2, size=(64, 96)):
    rng = torch.Generator().manual_seed(1)
    if key == 'normal':
        target = F.normalize(torch.randn(images, 3, *size, generator=rng), dim=1)
    elif key == 'depth':
        target = 0.6 + 7 * torch.rand(images, 1, *size, generator=rng)
    else:
        target = torch.randint(0, CLASSES, (images, 1, *size), generator=rng).to(torch.uint8)
    unknown = torch.rand(images, 1, *size, generator=rng) < 0.1
    target = torch.where(unknown, torch.tensor(TASKS[key].ignore_value).to(target.dtype), target)
    return target, TASKS[key].valid_mask(target)


def dead_parameters(head):
    return [n for n, p in head.named_parameters() if p.grad is None or not p.grad.any()]


@pytest.mark.parametrize('key', HEADS)
@pytest.mark.parametrize('size', [(64, 96), (65, 97)])
def test_every_parameter_learns(key, size):
    head = build(key)
    named = head.loss(features(size=size), *ground_truth(key, size=size))
    layers = {name.partition('.')[0] for name in named if '.' in name}
    assert layers == {f'aux{i}' for i in range(6)}
    sum(named.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())
    # A bias ahead of a batch norm has a gradient of rounding errors at most.
    assert not [n for n in dead_parameters(head) if not n.endswith('bias')]
    pred = head.eval().predict(features(size=size), size)
    assert pred.shape == (2, TASKS[key].num_channels, *size)


@pytest.mark.parametrize('key', HEADS)
def test_only_deep_supervision_trains_the_assignment(key):
    head = build(key, deep_supervision=False)
    sum(head.loss(features(), *ground_truth(key)).values()).backward()
    dead = dead_parameters(head)
    for i in range(6):
        part = f'decoder.layers.{i}.predictor.mask_head'
        assert any(name.startswith(part) for name in dead)


def test_without_a_class_head_every_parameter_learns():
    head = build('semseg', use_class_head=False)
    sum(head.loss(features(), *ground_truth('semseg')).values()).backward()
    assert all(p.grad is not None for p in head.parameters())


def test_void_starts_at_nine_tenths():
    head = build('semseg', matching='hungarian')
    with torch.no_grad():
        head.decoder.predictor.value_head.weight.zero_()
    classes = head.eval().cluster_maps(features())[1]
    assert torch.allclose(classes[..., -1], torch.tensor(0.9), atol=1e-5)


@pytest.mark.parametrize('key', ['depth', 'normal'])
def test_order_of_the_queries_does_not_matter(key):
    head = build(key).eval()
    want = head.predict(features(), (64, 96))
    with torch.no_grad():
        queries = head.decoder.queries
        queries.copy_(queries[:, torch.randperm(queries.shape[1])])
    assert torch.allclose(head.predict(features(), (64, 96)), want, atol=1e-4)


@pytest.mark.parametrize('key', HEADS)
def test_autocast_changes_little(key):
    head, (target, mask) = build(key).eval(), ground_truth(key)
    torch.manual_seed(0)
    full = sum(head.loss(features(), target, mask).values())
    torch.manual_seed(0)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        half = sum(head.loss(features(), target, mask).values())
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(full.item(), rel=0.05)


@pytest.mark.parametrize('key', HEADS)
def test_a_picture_without_labels_costs_nothing(key):
    head = build(key).eval()
    feats = features(size=(64, 96))
    target, mask = ground_truth(key)
    mask[1] = False
    alone = DenseFeatures(
        shared=tuple(m[:1] for m in feats.shared),
        backbone=tuple(m[:1] for m in feats.backbone),
        image_size=feats.image_size,
    )
    both, one = head.loss(feats, target, mask), head.loss(alone, target[:1], mask[:1])
    for name, value in both.items():
        # Eval mode: statistics of one picture do not touch the other.
        assert torch.allclose(value, one[name], rtol=1e-3, atol=1e-5), name
