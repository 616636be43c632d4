import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmdense.models.heads import KMaXTransformerDecoder
from mmdense.models.heads.kmax_predictor import KMaXPredictor
from mmdense.models.heads.kmax_transformer_decoder import hard_assignment
from mmdense.models.layers import fold_batch_norms
from mmdense.registry import MODELS
from mmdense.utils import ShapeError

CHANNELS = (6, 8, 10, 12)
SMALL = dict(
    query_dim=12,
    base_filters=8,
    num_heads=2,
    ffn_dim=20,
    predictor_hidden=14,
    embed_dim=10,
    drop_path=0.0,
)


def build(num_queries=5, out_channels=4, **kwargs):
    torch.manual_seed(0)
    cfg = dict(type='KMaXTransformerDecoder', in_channels=CHANNELS, num_queries=num_queries)
    return MODELS.build({**cfg, 'out_channels': out_channels, **SMALL, **kwargs})


def randomised(model):
    """Statistics and scales off their initial values, so that no update is zero."""
    generator = torch.Generator().manual_seed(1)
    for p in model.parameters():
        if p.ndim == 1:
            p.data = 0.5 + torch.rand(p.shape, generator=generator, dtype=p.dtype)
    for name, b in model.named_buffers():
        if name.endswith('running_mean'):
            b.copy_(0.3 * torch.randn(b.shape, generator=generator))
        elif name.endswith('running_var'):
            b.copy_(0.5 + torch.rand(b.shape, generator=generator))
    return model


def maps(batch=2, size=(8, 12), dtype=torch.float32):
    torch.manual_seed(2)
    h, w = size
    return tuple(
        torch.randn(batch, c, -(-h // s), -(-w // s), dtype=dtype)
        for c, s in zip(CHANNELS, (1, 2, 4, 8))
    )


# An independent form of the layer, on (B, C, K) and (B, C, HW) tensors, from the definition.


def norm(x, bn, training, axis=1):
    axes = [i for i in range(x.ndim) if i != axis]
    shape = [-1 if i == axis else 1 for i in range(x.ndim)]
    if training:
        mean, var = x.mean(axes), x.var(axes, unbiased=False)
    else:
        mean, var = bn.running_mean, bn.running_var
    x = (x - mean.view(shape)) / (var.view(shape) + 1e-3).sqrt()
    return x * bn.weight.view(shape) + bn.bias.view(shape)


def project(x, layer, training):
    weight = layer.linear.weight if hasattr(layer, 'linear') else layer.conv.weight.flatten(1)
    return norm(torch.einsum('oc,bcn->bon', weight, x), layer.bn, training)


def predict(p, mask, cls, pixels, training):
    depthwise, hidden, embed = p.pixel_head
    x = F.conv2d(pixels, depthwise.conv.weight, padding=2, groups=pixels.shape[1])
    x = F.gelu(norm(x, depthwise.bn, training)).flatten(2)
    x = F.gelu(project(x, hidden, training))
    weight, bias = embed.conv.weight.flatten(1), embed.conv.bias
    x = norm(torch.einsum('oc,bcn->bon', weight, x) + bias[:, None], embed.bn, training)
    x = x / x.square().sum(1, keepdim=True).sqrt()
    logits = torch.einsum('bek,ben->bkn', project(mask, p.mask_head, training), x)
    logits = norm(logits[:, None], p.mask_bn, training)[:, 0]
    values = torch.einsum('oc,bck->bko', p.value_head.weight, cls) + p.value_head.bias
    return logits, values, x


def reference_layer(layer, pixels, q, training):
    s = F.gelu(project(F.gelu(pixels).flatten(2), layer.pixel_conv, training))
    u = F.gelu(project(q, layer.query_conv, training))
    v = project(s, layer.pixel_value, training)
    s_map = s.unflatten(2, pixels.shape[-2:])
    logits, values, embeddings = predict(layer.predictor, u, u, s_map, training)
    chosen = logits.argmax(1)
    m = torch.zeros(len(q), v.shape[1], q.shape[2], dtype=v.dtype)
    for b in range(len(q)):
        for k in range(q.shape[2]):
            m[b, :, k] = v[b][:, chosen[b] == k].sum(1)
    q = q + project(norm(m, layer.kmeans_bn, training), layer.kmeans_out, training)
    query, key, value = project(u, layer.query_qkv, training).split(layer.widths, dim=1)
    heads = layer.num_heads
    query, key, value = (t.unflatten(1, (heads, -1)) for t in (query, key, value))
    similarity = torch.einsum('bhdk,bhdl->bhkl', query, key)
    weights = norm(similarity, layer.similarity_bn, training).softmax(-1)
    attended = torch.einsum('bhkl,bhdl->bhdk', weights, value).flatten(1, 2)
    attended = F.gelu(norm(attended, layer.attention_bn, training))
    q = F.gelu(q + project(attended, layer.attention_out, training))
    hidden = F.gelu(project(q, layer.ffn_in, training))
    return F.gelu(q + project(hidden, layer.ffn_out, training)), logits, values, embeddings


@pytest.mark.parametrize('training', [True, False])
@torch.no_grad()
def test_follows_the_definition_layer_by_layer(training):
    model = randomised(build().double()).train(training)
    features = maps(dtype=torch.float64)
    predictions, states = model.forward_states(features)
    assert (len(predictions), len(states)) == (7, 6)
    q = model.queries[None].expand(2, -1, -1)
    for i, layer in enumerate(model.layers):
        pixels = features[3 - i // 2]
        q, logits, values, embeddings = reference_layer(layer, pixels, q, training)
        got = predictions[i]
        close = dict(rtol=1e-7, atol=1e-7)
        torch.testing.assert_close(got.mask_logits.flatten(2), logits, **close)
        torch.testing.assert_close(got.values, values, **close)
        torch.testing.assert_close(got.embeddings.flatten(2), embeddings, **close)
        torch.testing.assert_close(states[i].transpose(1, 2), q, **close)
    mask = F.gelu(project(q, model.mask_embedding, training))
    cls = F.gelu(project(q, model.class_embedding, training))
    logits, values, _ = predict(model.predictor, mask, cls, features[0], training)
    torch.testing.assert_close(predictions[-1].mask_logits.flatten(2), logits, **close)
    torch.testing.assert_close(predictions[-1].values, values, **close)


@pytest.mark.parametrize('shape', [(2, 5, 8, 12), (1, 1, 9, 13), (3, 40, 15, 7)])
@torch.no_grad()
def test_shapes(shape):
    batch, queries, *size = shape
    features = maps(batch, size)
    predictions = build(queries).eval()(features, align_corners=True, auxiliary=True)
    for p, x in zip(predictions, [features[i] for i in (3, 3, 2, 2, 1, 1, 0)]):
        assert p.mask_logits.shape == (batch, queries, *x.shape[-2:])
        assert p.values.shape == (batch, queries, 4)
        assert p.embeddings.shape == (batch, 10, *x.shape[-2:])
        torch.testing.assert_close(p.embeddings.norm(dim=1), torch.ones_like(p.embeddings[:, 0]))


def test_one_cluster_trains_with_two_pictures():
    predictions = build(1)(maps(2))
    assert predictions[-1].mask_logits.shape[1] == 1
    assert predictions[-1].mask_logits.isfinite().all()


def test_hard_assignment_sums():
    logits = torch.randn(2, 5, 4, 6)
    assignment = hard_assignment(logits)
    assert torch.equal(assignment.sum(1), torch.ones(2, 24))
    assert torch.equal(assignment.argmax(1), logits.flatten(2).argmax(1))
    values = torch.randn(2, 24, 3)
    grouped = torch.zeros(2, 5, 3).scatter_add_(
        1, logits.flatten(2).argmax(1)[..., None].expand(-1, -1, 3), values
    )
    torch.testing.assert_close(assignment @ values, grouped)
    assert not hard_assignment(logits.requires_grad_()).requires_grad


def loss_of(predictions):
    total = 0
    for p in predictions:
        for part in (p.mask_logits, p.values, p.embeddings):
            # A fixed random direction: plain sums of normalised values have no gradient.
            torch.manual_seed(5)
            total = total + (part * torch.randn_like(part)).sum()
    return total


def test_every_parameter_learns_with_auxiliary_losses():
    model = randomised(build())
    loss_of(model(maps())).backward()
    for name, p in model.named_parameters():
        assert p.grad is not None and p.grad.any(), name


def test_assignment_branch_learns_from_auxiliary_losses_alone():
    model = randomised(build())
    predictions = model(maps(), auxiliary=False)
    assert len(predictions) == 1
    loss_of(predictions).backward()
    for name, p in model.named_parameters():
        assignment = name.startswith('layers') and '.predictor.' in name
        assert (p.grad is None) == assignment, name


def test_gradient_reaches_pixels_through_values_but_not_through_the_assignment():
    model = randomised(build(layers_per_scale=(1,)))
    features = [x.requires_grad_() for x in maps()]
    with torch.no_grad():
        model.layers[0].pixel_value.bn.weight.zero_()
    model.forward_states(features)[1][0].sum().backward()
    assert not features[3].grad.any()
    with torch.no_grad():
        model.layers[0].pixel_value.bn.weight.fill_(1)
    model.forward_states(features)[1][0].sum().backward()
    assert features[3].grad.any()


@pytest.mark.parametrize(('dtype', 'tol'), [(torch.float64, 1e-10), (torch.float32, 2e-4)])
@torch.no_grad()
def test_aggregation_ahead_of_projection_equals_the_plain_order(dtype, tol):
    layer = randomised(build().to(dtype)).eval().layers[0]
    torch.manual_seed(0)
    pixels = 3 * torch.randn(2, 16, 9, 11, dtype=dtype)
    assignment = hard_assignment(torch.randn(2, 5, 9, 11, dtype=dtype))
    values = layer.pixel_value(pixels).flatten(2).transpose(1, 2)
    sums = (assignment @ values).flatten(0, 1)
    expected = layer.kmeans_bn(sums).view(2, 5, -1)
    got = layer._aggregate(assignment, pixels)
    torch.testing.assert_close(got, expected, rtol=0, atol=tol * expected.abs().max().item())


@torch.no_grad()
def test_folding_keeps_the_function():
    model = randomised(build(center_mlp_layers=1).double()).eval()
    features = maps(dtype=torch.float64)
    before = model(features)
    after = fold_batch_norms(model)(features)
    for a, b in zip(after, before):
        torch.testing.assert_close(a.mask_logits, b.mask_logits)
        torch.testing.assert_close(a.values, b.values)
        torch.testing.assert_close(a.embeddings, b.embeddings)


@torch.no_grad()
def test_inference_leaves_out_what_nobody_reads():
    model = randomised(build()).eval()
    calls = []
    values = KMaXPredictor.values
    for module in model.modules():
        if isinstance(module, KMaXPredictor):
            module.values = lambda x, m=module: calls.append(1) or values(m, x)
    full = model(maps())
    assert len(calls) == 7
    calls.clear()
    (final,) = model(maps(), auxiliary=False)
    assert len(calls) == 1 and final.embeddings is None
    torch.testing.assert_close(final.mask_logits, full[-1].mask_logits)
    torch.testing.assert_close(final.values, full[-1].values)


def test_embeddings_on_request_only():
    assert build(use_embeddings=False)(maps())[-1].embeddings is None
    assert build()(maps(), auxiliary=False)[-1].embeddings is not None  # training


def test_no_vectors_with_zero_out_channels():
    model = build(out_channels=0, void_bias=True)
    predictions = model(maps())
    assert all(p.values is None for p in predictions)
    assert model.class_embedding is None
    torch.manual_seed(5)
    sum((p.mask_logits * torch.randn_like(p.mask_logits)).sum() for p in predictions).backward()
    assert all(p.grad is not None for p in model.parameters())


def test_void_starts_at_nine_tenths():
    model = build(out_channels=21, void_bias=True)
    plain = build(out_channels=21)
    plain.load_state_dict(model.state_dict())
    biased, raw = model(maps())[0].values, plain(maps())[0].values
    torch.testing.assert_close(biased[..., :-1], raw[..., :-1])
    shift = torch.full_like(raw[..., -1], math.log(20 * 0.9 / 0.1))
    torch.testing.assert_close(biased[..., -1] - raw[..., -1], shift)
    assert biased.softmax(-1)[..., -1].mean().item() == pytest.approx(0.9, abs=0.02)


def test_center_mlp_adds_layers_ahead_of_the_value_head():
    model = build(center_mlp_layers=2)
    for predictor in [layer.predictor for layer in model.layers] + [model.predictor]:
        assert len(predictor.center_mlp) == 2
    loss_of(model(maps())).backward()
    assert all(p.grad is not None for p in model.predictor.center_mlp.parameters())


def test_order_of_clusters_carries_over():
    model = randomised(build()).eval()
    order = torch.tensor([3, 1, 4, 0, 2])
    before = model(maps())[-1]
    model.queries.data = model.queries.data[:, order]
    after = model(maps())[-1]
    torch.testing.assert_close(
        after.mask_logits, before.mask_logits[:, order], rtol=1e-3, atol=1e-3
    )
    torch.testing.assert_close(after.values, before.values[:, order], rtol=1e-3, atol=1e-3)


def test_initialisation():
    model = KMaXTransformerDecoder((256, 512, 1024, 2048), 64, 41)
    layer = model.layers[0]
    for name in ('kmeans_out', 'attention_out', 'ffn_out'):
        assert not getattr(layer, name).bn.weight.any()
    assert layer.predictor.mask_bn.weight.item() == pytest.approx(0.1)
    assert model.queries.shape == (256, 64) and model.queries.abs().max() <= 2
    cut = 0.8796
    for weight, std in (
        (layer.query_qkv.linear.weight, cut * 256**-0.5),
        (layer.pixel_value.conv.weight, cut * 256**-0.5),
        (layer.predictor.pixel_head[2].conv.weight, cut * 0.01),
        (layer.predictor.value_head.weight, cut * 0.01),
        (layer.ffn_in.linear.weight, (2 / 256) ** 0.5),
        (layer.predictor.pixel_head[0].conv.weight, (2 / (25 * 257)) ** 0.5),
        (model.queries, cut),
    ):
        assert weight.std().item() == pytest.approx(std, rel=0.03)
    assert not layer.predictor.pixel_head[2].conv.bias.any()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model.init_weights()
    torch.testing.assert_close(dict(model.state_dict()), before)


def test_model_built_on_meta_is_initialised_by_init_weights():
    with torch.device('meta'):
        model = build()
    model.to_empty(device='cpu')
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data.fill_(77)
    model.init_weights()
    assert all(not (t == 77).any() for t in (*model.parameters(), *model.buffers()))
    assert model.layers[0].predictor.mask_bn.weight.item() == pytest.approx(0.1)
    assert not model.layers[0].ffn_out.bn.weight.any()


def test_drop_path_reaches_three_branches():
    layer = build(drop_path=0.5).layers[0]
    assert layer.drop_path.drop_prob == 0.5
    calls = []
    layer.drop_path.register_forward_hook(lambda *_: calls.append(1))
    build_maps = maps()
    layer(build_maps[3], torch.randn(2, 5, 12), with_values=False, with_embeddings=False)
    assert len(calls) == 3


def test_bf16_autocast_keeps_islands_in_float32():
    model = randomised(build())
    seen = set()
    for layer in model.layers:
        for name in ('similarity_bn', 'kmeans_bn'):
            getattr(layer, name).register_forward_hook(lambda _m, i, _o: seen.add(i[0].dtype))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        predictions = model(maps())
    assert seen == {torch.float32}
    assert {p.mask_logits.dtype for p in predictions} == {torch.float32}
    assert {p.values.dtype for p in predictions} == {torch.float32}
    loss_of(predictions).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_synchronised_norms_leave_evaluation_alone():
    model = randomised(build()).eval()
    with torch.no_grad():
        before = model(maps())[-1].mask_logits
        synced = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        assert not any(type(m) in (nn.BatchNorm1d, nn.BatchNorm2d) for m in synced.modules())
        torch.testing.assert_close(synced(maps())[-1].mask_logits, before)


def test_wrong_use_names_the_argument():
    with pytest.raises(ValueError, match=r'layers_per_scale=\(1, 1, 1, 1\)'):
        build(layers_per_scale=(1, 1, 1, 1))
    with pytest.raises(ValueError, match='num_heads=3 must divide the key width 8'):
        build(num_heads=3)
    with pytest.raises(ValueError, match='void_bias=True with out_channels=1'):
        build(out_channels=1, void_bias=True)
    with pytest.raises(ShapeError, match=r'expected in_channels=\(6, 8, 10, 12\)'):
        build()(maps()[:3])
