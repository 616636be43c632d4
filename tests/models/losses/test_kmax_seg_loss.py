"""Segmentation terms of kMaX-DeepLab against loops over pictures, clusters and pixels."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from mmdense.models.heads.cluster_prediction import ClusterPrediction
from mmdense.models.losses import KMaXSegLoss, functional

CLASSES = 4


def make_predictions(layers=3, clusters=CLASSES, images=2, size=(6, 8), seed=0, classes=CLASSES):
    """Layers at several resolutions; the last one at ``size``."""
    rng = torch.Generator().manual_seed(seed)
    predictions = []
    for layer in range(layers):
        h, w = size if layer == layers - 1 else (size[0] // 2, size[1] // 2)
        predictions.append(
            ClusterPrediction(
                mask_logits=2 * torch.randn(images, clusters, h, w, generator=rng),
                values=torch.randn(images, clusters, classes + 1, generator=rng),
                embeddings=F.normalize(torch.randn(images, 5, h, w, generator=rng), dim=1),
            )
        )
    return predictions


def make_target(images=2, size=(24, 32), seed=1, absent=(3,)):
    """Labels with some void pixels and without the classes ``absent``."""
    rng = torch.Generator().manual_seed(seed)
    target = torch.randint(0, CLASSES, (images, 1, *size), generator=rng)
    for label in absent:
        target[target == label] = 0
    target[torch.rand(target.shape, generator=rng) < 0.2] = 255
    return target.to(torch.uint8), target != 255


def brute_terms(prediction, final, labels, cluster_of=None):
    """mask_id, dice and class of one layer by loops; ``labels`` ``(B, h, w)``, 255 void."""
    size = labels.shape[-2:]
    rows = []
    for b in range(len(labels)):
        cluster_of_b = {c: c for c in range(CLASSES)} if cluster_of is None else cluster_of[b]

        def probabilities(p, b=b):
            logits = F.interpolate(p.mask_logits, size=size, mode='bilinear', align_corners=False)
            return logits[b].softmax(0)

        p, p_final = probabilities(prediction), probabilities(final)
        known = labels[b] != 255
        present = {c: k for c, k in cluster_of_b.items() if (labels[b] == c).any()}
        class_of = {k: c for c, k in present.items()}
        nll = [
            -math.log(p[present[labels[b, i, j].item()], i, j])
            for i, j in itertools.product(*map(range, size))
            if known[i, j]
        ]
        dice = ce = 0.0
        clusters = p.shape[0]
        final_class = final.values[b].softmax(-1)
        for k in range(clusters):
            t = class_of.get(k, CLASSES)
            q, q_final = p[k][known].sum(), p_final[k][known].sum()
            if k in class_of:
                g = labels[b] == t
                w = max(final_class[k, t].item(), 1e-5)
                dice += w * (1 - (2 * p[k][g].sum() + 1) / (q + g.sum() + 1)).item()
                v = (p_final[k][g].sum() / ((q_final + g.sum()) / 2 + 1e-5)).item()
            else:
                v = (p_final[k][~known].sum() / p_final[k].sum()).item()
            a = 0.75 if k in class_of else 0.25
            ce += a * max(v, 1e-5) * -prediction.values[b, k].log_softmax(-1)[t].item()
        rows.append((sum(nll) / len(nll), 0.75 * dice / clusters, ce / clusters))
    return [sum(column) / len(rows) for column in zip(*rows)]


WEIGHTS = dict(mask_id=0.3, dice=3.0, instance=1.0)
WEIGHTS['class'] = 3.0


@pytest.mark.parametrize('layer', [0, 1, 2])
def test_mask_and_class_terms_equal_a_loop(layer):
    predictions = make_predictions()
    target, mask = make_target()
    got = KMaXSegLoss(CLASSES)(predictions, target, mask)
    want = brute_terms(predictions[layer], predictions[-1], target[:, 0, ::4, ::4])
    prefix = '' if layer == 2 else f'aux{layer}.'
    for name, value in zip(('mask_id', 'dice', 'class'), want):
        assert got[f'{prefix}loss_{name}'].item() == pytest.approx(WEIGHTS[name] * value, rel=1e-5)


def test_fixed_matching_is_plain_cross_entropy_and_dice():
    prediction = make_predictions(layers=1)
    target, mask = make_target(absent=())
    labels = target[:, 0, ::4, ::4].long()
    got = KMaXSegLoss(CLASSES, use_class_head=False)(prediction, target, mask)
    logits = prediction[0].mask_logits
    per_image = [
        F.cross_entropy(x[None], y[None], ignore_index=255) for x, y in zip(logits, labels)
    ]
    assert torch.allclose(got['loss_mask_id'], 0.3 * torch.stack(per_image).mean())
    p = logits.softmax(1) * (labels != 255)[:, None]
    g = (labels[:, None] == torch.arange(CLASSES)[:, None, None]).float()
    dice = (2 * (p * g).sum((2, 3)) + 1) / (p.sum((2, 3)) + g.sum((2, 3)) + 1)
    assert torch.allclose(got['loss_dice'], 3 * 0.75 * (1 - dice).mean())
    assert 'loss_class' not in got


def test_names_and_weights():
    predictions, (target, mask) = make_predictions(layers=7), make_target()
    named = KMaXSegLoss(CLASSES, num_samples=9)(
        predictions, target, mask, torch.randn(2, CLASSES + 1, 6, 8)
    )
    terms = {'loss_mask_id', 'loss_dice', 'loss_class', 'loss_instance'}
    want = {*terms, 'loss_semantic', *(f'aux{i}.{t}' for i in range(6) for t in terms)}
    assert set(named) == want
    assert all(value.ndim == 0 for value in named.values())
    halved = KMaXSegLoss(CLASSES, instance_weight=0, mask_id_weight=0.6, loss_weight=0.5)(
        predictions, target, mask
    )
    assert torch.allclose(halved['loss_mask_id'], named['loss_mask_id'])
    assert torch.allclose(2 * halved['loss_dice'], named['loss_dice'])
    assert 'loss_instance' not in halved


@pytest.mark.parametrize('size, want', [((33, 41), (9, 11)), ((32, 40), (8, 10))])
def test_ground_truth_at_stride_4_has_the_size_of_the_maps(size, want):
    target = torch.zeros(1, 1, *size)
    assert target[..., ::4, ::4].shape[-2:] == want
    predictions = make_predictions(layers=2, images=1, size=want)
    target, mask = make_target(images=1, size=size)
    loss = KMaXSegLoss(CLASSES)(predictions, target, mask, align_corners=size[1] % 2 == 1)
    assert all(value.isfinite() for value in loss.values())


# -- matching -----------------------------------------------------------------


def aligned_predictions(target, layers=2, clusters=CLASSES):
    """Predictions that fit the ground truth, cluster c for class c, with some noise."""
    predictions = make_predictions(layers=layers, clusters=clusters)
    labels = target[:, 0, ::4, ::4].long()
    fit = F.one_hot(torch.where(labels == 255, 0, labels), clusters).movedim(-1, 1)
    void = torch.arange(clusters).clamp(max=CLASSES)
    for p in predictions:
        small = F.interpolate(fit.float(), size=p.mask_logits.shape[-2:])
        p.mask_logits = 0.3 * p.mask_logits + 4 * small
        p.values = 0.3 * p.values + 4 * F.one_hot(void, CLASSES + 1)
    return predictions


def permuted(predictions, order):
    return [
        ClusterPrediction(p.mask_logits[:, order], p.values[:, order], p.embeddings)
        for p in predictions
    ]


def test_hungarian_equals_fixed_for_permuted_clusters():
    target, mask = make_target(absent=())
    predictions = aligned_predictions(target)
    fixed = KMaXSegLoss(CLASSES, num_samples=10**6)(predictions, target, mask)
    shuffled = permuted(predictions, [2, 0, 3, 1])
    hungarian = KMaXSegLoss(CLASSES, matching='hungarian', num_samples=10**6)(
        shuffled, target, mask
    )
    assert fixed.keys() == hungarian.keys()
    for name, value in fixed.items():
        assert torch.allclose(hungarian[name], value, rtol=1e-5), name


@pytest.mark.parametrize('clusters', [CLASSES, 6])
def test_hungarian_terms_equal_a_loop_over_all_assignments(clusters):
    predictions = make_predictions(clusters=clusters)
    target, mask = make_target()
    labels = target[:, 0, ::4, ::4]
    p = predictions[-1].mask_logits.softmax(1)
    share = predictions[-1].values.softmax(-1)
    cluster_of = []
    for b in range(2):
        known = labels[b] != 255
        present = [c for c in range(CLASSES) if (labels[b] == c).any()]

        def score(k, c, b=b, known=known):
            g = labels[b] == c
            dice = p[b, k][g].sum() / ((p[b, k][known].sum() + g.sum()) / 2 + 1e-5)
            return (dice * share[b, k, c]).item()

        best = max(
            itertools.permutations(range(clusters), len(present)),
            key=lambda ks: sum(score(k, c) for k, c in zip(ks, present)),
        )
        cluster_of.append(dict(zip(present, best)))
    got = KMaXSegLoss(CLASSES, matching='hungarian')(predictions, target, mask)
    want = brute_terms(predictions[0], predictions[-1], labels, cluster_of)
    for name, value in zip(('mask_id', 'dice', 'class'), want):
        assert got[f'aux0.loss_{name}'].item() == pytest.approx(WEIGHTS[name] * value, rel=1e-5)


def test_fewer_clusters_than_classes_leave_the_worst_class_out():
    predictions = make_predictions(clusters=2)
    target, mask = make_target(absent=())
    got = KMaXSegLoss(CLASSES, matching='hungarian')(predictions, target, mask)
    assert all(value.isfinite() for value in got.values())


def test_targets_of_a_matching():
    labels = torch.tensor([[0, 2, 255, 2]])
    one_hot = functional.one_hot_labels(labels, 3)
    t = functional.mask_targets(labels, one_hot, torch.tensor([[1, -1, 0]]), num_clusters=3)
    assert t.cluster.tolist() == [[1, 0, 0, 0]] and t.matched.tolist() == [
        [True, True, False, True]
    ]
    assert t.classes.tolist() == [[2, 0, 3]] and t.present.tolist() == [[True, True, False]]
    assert t.masks[0].tolist() == [[0, 1, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0]]


# -- gradients, precision, partial labels ----------------------------------------


def leaves(predictions):
    for p in predictions:
        for tensor in (p.mask_logits, p.values, p.embeddings):
            yield tensor.requires_grad_()


def test_a_picture_without_labels_does_not_count():
    predictions = make_predictions()
    target, mask = make_target()
    target[1], mask[1] = 255, False
    loss = KMaXSegLoss(CLASSES, num_samples=10**6)
    alone = [
        ClusterPrediction(p.mask_logits[:1], p.values[:1], p.embeddings[:1]) for p in predictions
    ]
    semantic = torch.randn(2, CLASSES + 1, 6, 8)
    both = loss(predictions, target, mask, semantic)
    one = loss(alone, target[:1], mask[:1], semantic[:1])
    for name in both:
        # The semantic branch samples at random; with as many samples as pixels it does not.
        assert torch.allclose(both[name], one[name], rtol=1e-5), name


@pytest.mark.parametrize('matching', ['fixed', 'hungarian'])
def test_no_labels_at_all_is_zero_in_the_graph(matching):
    predictions = make_predictions()
    target, mask = make_target()
    inputs = list(leaves(predictions))
    semantic = torch.randn(2, CLASSES + 1, 6, 8, requires_grad=True)
    named = KMaXSegLoss(CLASSES, matching=matching, num_samples=9)(
        predictions, target, torch.zeros_like(mask), semantic
    )
    assert all(value == 0 for value in named.values())
    sum(named.values()).backward()
    for tensor in (*inputs, semantic):
        assert torch.equal(tensor.grad, torch.zeros_like(tensor))


@pytest.mark.parametrize('num_samples', [9, 10**6])
def test_gradients_are_finite_and_reach_everything(num_samples):
    predictions = make_predictions()
    inputs = list(leaves(predictions))
    sum(
        KMaXSegLoss(CLASSES, num_samples=num_samples)(predictions, *make_target()).values()
    ).backward()
    for tensor in inputs:
        assert tensor.grad.isfinite().all() and tensor.grad.abs().sum() > 0


def test_stop_gradient_weights_carry_no_gradient():
    # The dice term reads class logits only through its weights.
    predictions = make_predictions(layers=1)
    list(leaves(predictions))
    loss = KMaXSegLoss(CLASSES)(predictions, *make_target())
    grads = torch.autograd.grad(loss['loss_dice'], predictions[0].values, allow_unused=True)
    assert grads == (None,)
    grads = torch.autograd.grad(loss['loss_class'], predictions[0].mask_logits, allow_unused=True)
    assert grads == (None,)


def test_half_precision_predictions_are_read_in_fp32():
    predictions = make_predictions()
    target, mask = make_target()
    half = [
        ClusterPrediction(p.mask_logits.bfloat16(), p.values.bfloat16(), p.embeddings.bfloat16())
        for p in predictions
    ]
    loss = KMaXSegLoss(CLASSES, num_samples=10**6)
    full = loss(predictions, target, mask)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        got = loss(half, target, mask)
    for name, value in full.items():
        assert got[name].dtype == torch.float32
        assert got[name].item() == pytest.approx(value.item(), rel=0.02), name


# -- sampled pixels ------------------------------------------------------------


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('native', [(3, 5), (6, 9), (12, 17), (1, 1)])
def test_sampling_equals_resizing_and_gathering(align_corners, native):
    maps, size = torch.randn(2, 4, *native, dtype=torch.float64), (11, 17)
    index = torch.randint(0, 11 * 17, (2, 50))
    resized = F.interpolate(maps, size=size, mode='bilinear', align_corners=align_corners)
    want = resized.flatten(2).gather(2, index[:, None].expand(-1, 4, -1)).transpose(1, 2)
    got = functional.sample_maps(maps, index, size, align_corners)
    assert torch.allclose(got, want, atol=1e-12)
    single = functional.sample_maps(maps.float(), index, size, align_corners)
    assert torch.allclose(single, want.float(), atol=2e-5)


def test_enough_samples_take_every_pixel_without_noise():
    labels = torch.tensor([[0, 1, 255, 1]])
    index = functional.sample_pixels(labels, functional.one_hot_labels(labels, 2), 4, 1.5)
    assert index.tolist() == [[0, 1, 2, 3]]


def test_samples_are_distinct_and_labelled():
    torch.manual_seed(0)
    labels = torch.full((3, 40), 255)
    labels[:, ::2] = torch.randint(0, 2, (3, 20))
    index = functional.sample_pixels(labels, functional.one_hot_labels(labels, 2), 15, 1.5)
    assert index.shape == (3, 15)
    assert all(len(set(row)) == 15 for row in index.tolist())
    assert (labels.gather(1, index) != 255).all()


@pytest.mark.parametrize('temperature, want', [(0.0, 0.1), (1.0, 0.5)])
def test_small_classes_are_sampled_more_often(temperature, want):
    # 10 pixels of class 0 and 90 of class 1; temperature 1 makes classes equally likely.
    torch.manual_seed(0)
    labels = torch.cat([torch.zeros(10), torch.ones(90)]).long().expand(4000, -1)
    index = functional.sample_pixels(labels, functional.one_hot_labels(labels, 2), 1, temperature)
    assert (index < 10).float().mean().item() == pytest.approx(want, abs=0.03)


def test_instance_discrimination_equals_a_loop():
    rng = torch.Generator().manual_seed(0)
    embeddings = F.normalize(torch.randn(2, 2, 9, 5, generator=rng), dim=-1)
    labels = torch.tensor([[0, 1, 2, 0, 1, 2, 0, 255, 255], [1, 1, 1, 2, 2, 2, 2, 2, 255]])
    got = functional.instance_discrimination(embeddings, labels, 3, temperature=0.3)
    for layer in range(2):
        per_image = []
        for b in range(2):
            kept = [j for j in range(9) if labels[b, j] != 255]
            f = embeddings[layer, b, kept]
            log_q = (f @ f.T / 0.3).log_softmax(-1)
            same = (labels[b, kept][:, None] == labels[b, kept]).float()
            per_image.append(-(log_q * same / same.sum(1, keepdim=True)).sum(1).mean())
        assert torch.allclose(got[layer], torch.stack(per_image).mean(), rtol=1e-5)


def test_instance_term_of_all_pixels_equals_a_dense_computation():
    predictions, (target, mask) = make_predictions(), make_target()
    got = KMaXSegLoss(CLASSES, num_samples=48)(predictions, target, mask)
    resized = F.interpolate(
        predictions[0].embeddings, size=(6, 8), mode='bilinear', align_corners=False
    )
    labels = target[:, 0, ::4, ::4].flatten(1).long()
    want = functional.instance_discrimination(
        resized.flatten(2).transpose(1, 2)[None], labels, CLASSES
    )
    assert torch.allclose(got['aux0.loss_instance'], want[0], rtol=1e-5)


def test_semantic_term_of_all_pixels_is_cross_entropy():
    target, mask = make_target()
    logits = torch.randn(2, CLASSES + 1, 6, 8)
    got = KMaXSegLoss(CLASSES, semantic_weight=2.0)(make_predictions(), target, mask, logits)
    labels = target[:, 0, ::4, ::4].long()
    per_image = [
        F.cross_entropy(x[None], y[None], ignore_index=255) for x, y in zip(logits, labels)
    ]
    assert torch.allclose(got['loss_semantic'], 2 * torch.stack(per_image).mean(), rtol=1e-5)


# -- wrong use ------------------------------------------------------------------


@pytest.mark.parametrize(
    'kwargs, text',
    [
        (dict(matching='greedy'), "matching is 'greedy'"),
        (dict(matching='hungarian', use_class_head=False), 'needs use_class_head=True'),
    ],
)
def test_impossible_arguments_fail_at_build_time(kwargs, text):
    with pytest.raises(ValueError, match=text):
        KMaXSegLoss(CLASSES, **kwargs)


@pytest.mark.parametrize('field, text', [('values', 'class logits'), ('embeddings', 'embeddings')])
def test_a_missing_part_of_a_prediction_is_named(field, text):
    predictions = make_predictions()
    setattr(predictions[0], field, None)
    with pytest.raises(ValueError, match=text):
        KMaXSegLoss(CLASSES)(predictions, *make_target())


def test_one_graph_without_breaks():
    # A graph break would mean a wait for the device in every training step.
    predictions, (target, mask) = make_predictions(), make_target()
    loss = KMaXSegLoss(CLASSES, num_samples=10**6)
    compiled = torch.compile(loss, backend='eager', fullgraph=True)
    want = loss(predictions, target, mask)
    for name, value in compiled(predictions, target, mask).items():
        assert torch.allclose(value, want[name]), name
