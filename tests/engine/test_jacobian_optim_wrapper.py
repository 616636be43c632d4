import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from balancing_utils import TASKS, batch_of, flat, make_toy, make_wrapper, train

from mmdense.engine.optim_wrappers.aggregators import build_aggregator
from mmdense.engine.optim_wrappers.aggregators.moco import project_onto_simplex
from mmdense.utils.errors import MissingDependencyError

ON = torch.ones(3, dtype=torch.bool)
LOSSES = torch.tensor([0.5, 2.0, 1.0], dtype=torch.float64)


@pytest.mark.parametrize('balancer', [None, dict(type='UncertaintyWeights', aux_losses='added')])
@pytest.mark.parametrize('counts', [1, 2])
def test_sum_of_gradients_is_the_plain_update(balancer, counts):
    """Also of learned weights, losses without a task, and over accumulated steps."""
    plain, jacobian = make_toy(balancer), make_toy(balancer)
    batches = [batch_of(step) for step in range(4)]
    one = train(plain, make_wrapper(plain, accumulative_counts=counts), batches)
    options = dict(aggregator=dict(type='Sum'), accumulative_counts=counts)
    two = train(jacobian, make_wrapper(jacobian, **options), batches)
    assert torch.allclose(one, two, atol=1e-6)
    assert not torch.allclose(one, flat(make_toy(balancer)), atol=1e-4)


def gradients(model, batch):
    """Gradient of each task and of the rest on the shared parameters."""
    model.balancer.keep_terms = True
    model.parse_losses(model(**batch))
    terms = model.balancer.terms
    params = list(model.backbone.parameters())
    found = [
        torch.autograd.grad(value, params, retain_graph=True)
        for value in (*terms.rows.values(), terms.rest)
    ]
    return [torch.cat([g.flatten() for g in grads]) for grads in found], terms


def one_update(aggregator, batch, **kwargs):
    """What the wrapper writes into the shared parameters' gradients in one update."""
    model = make_toy()
    wrapper = make_wrapper(model, aggregator=aggregator, **kwargs)
    seen = {}

    def look(*args, **kwargs):
        seen['shared'] = torch.cat([p.grad.flatten() for p in model.backbone.parameters()])
        seen['heads'] = {k: h.weight.grad.clone() for k, h in model.heads.items()}

    wrapper.step = look
    train(model, wrapper, [batch])
    return seen


def test_direction_is_that_of_the_aggregator_plus_losses_without_a_task():
    import torchjd.aggregation

    batch = batch_of(0)
    (*rows, rest), _ = gradients(make_toy(), batch)
    for name, kwargs in (
        ('MGDA', {}),
        ('UPGrad', {}),
        ('ConFIG', {}),
        ('NashMTL', dict(n_tasks=4)),
    ):
        expected = getattr(torchjd.aggregation, name)(**kwargs)(torch.stack(rows)) + rest
        found = one_update(dict(type=name), batch)
        assert torch.allclose(found['shared'], expected, atol=1e-5), name
    heads = make_toy()
    total, _ = heads.parse_losses(heads(**batch))
    total.backward()
    for key in TASKS:
        assert torch.allclose(found['heads'][key], heads.heads[key].weight.grad, atol=1e-6)


def test_task_without_labels_is_left_out_not_taken_for_solved():
    """The smallest vector of a hull with a zero gradient in it would be zero."""
    batch = batch_of(1)
    (*rows, rest), terms = gradients(make_toy(), batch)
    assert not terms.present[2] and not rows[2].any()
    found = one_update(dict(type='MGDA'), batch)['shared'] - rest
    assert found.norm() > 1e-3


def test_grad_norm_takes_the_step_of_its_objective():
    aggregator = build_aggregator(dict(type='GradNorm', alpha=1.5, lr=0.1))
    raw = torch.randn(3, 20)
    logits = torch.zeros(3, dtype=torch.float64)
    expected = logits.clone().requires_grad_()
    optimizer = torch.optim.Adam([expected], lr=0.1)
    first = LOSSES
    for losses in (LOSSES, torch.tensor([0.4, 1.0, 0.9], dtype=torch.float64)):
        weights = aggregator.row_weights(losses)
        direction = aggregator(weights.float()[:, None] * raw, losses, ON)
        w = 3 * torch.softmax(expected, dim=0)
        norms = w * raw.norm(dim=1).double()
        pace = (losses / first) / (losses / first).mean()
        target = (norms.mean() * pace**1.5).detach()
        optimizer.zero_grad()
        (norms - target).abs().sum().backward()
        assert torch.allclose(
            direction.vector, (w.detach().float()[:, None] * raw).sum(0), atol=1e-5
        )
        optimizer.step()
    assert torch.allclose(aggregator.state['logits'], expected.detach(), atol=1e-6)


def test_db_mtl_brings_averages_to_the_length_of_the_longest():
    aggregator = build_aggregator(dict(type='DBMTL', beta=0.6, decay=0.5))
    assert torch.allclose(aggregator.row_weights(LOSSES), 1 / LOSSES, atol=1e-6)
    average = torch.zeros(3, 10)
    for step in range(1, 4):
        matrix = torch.randn(3, 10)
        beta = 0.6 / step**0.5
        average = beta * average + (1 - beta) * matrix
        norms = average.norm(dim=1)
        expected = sum(norms.max() / norm * row for norm, row in zip(norms, average))
        assert torch.allclose(aggregator(matrix, LOSSES, ON).vector, expected, atol=1e-5)


def test_db_mtl_trains_heads_on_log_losses():
    batch = batch_of(0)
    found = one_update(dict(type='DBMTL'), batch)['heads']
    model = make_toy()
    step = model(**batch)
    # The loss of 'b' has an auxiliary part.
    sum(((1.3 if key == 'b' else 1) * step[key]).log() for key in TASKS).backward()
    for key in TASKS:
        assert torch.allclose(found[key], model.heads[key].weight.grad, atol=1e-5)


@pytest.mark.parametrize('projection', ['simplex', 'softmax'])
def test_moco_follows_its_recursion(projection):
    cfg = dict(type='MoCo', beta=0.5, gamma=0.2, rho=0.1, projection=projection)
    aggregator = build_aggregator(cfg)
    tracked, shares = torch.zeros(3, 10), torch.full((3,), 1 / 3)
    for step in range(1, 4):
        matrix = torch.randn(3, 10)
        scaled = matrix / matrix.norm(dim=1, keepdim=True) * LOSSES.float()[:, None]
        tracked = tracked - 0.5 / step**0.5 * (tracked - scaled)
        moved = shares - 0.2 / step**0.5 * (tracked @ tracked.T + 0.1 * torch.eye(3)) @ shares
        shares = project_onto_simplex(moved) if projection == 'simplex' else moved.softmax(0)
        found = aggregator(matrix, LOSSES, ON)
        assert torch.allclose(found.vector, tracked.T @ shares, atol=1e-5)
        assert found.weights.sum().item() == pytest.approx(1, abs=1e-6)


def test_simplex_projection_is_the_nearest_point():
    for _ in range(20):
        point = torch.randn(4, dtype=torch.float64)
        found = project_onto_simplex(point)
        assert found.sum().item() == pytest.approx(1) and (found >= 0).all()
        others = torch.distributions.Dirichlet(torch.ones(4).double()).sample((500,))
        assert (point - found).norm() <= (point - others).norm(dim=1).min() + 1e-9


@pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])
def test_mixed_precision_stays_close_and_is_unscaled_before_weighting(dtype):
    batch = batch_of(0)
    # Nash-MTL's weights are inverse lengths: a scale left in the gradients would show.
    plain = one_update(dict(type='NashMTL'), batch)['shared']
    scale = dict(loss_scale=1024.0) if dtype == 'float16' else {}
    mixed = one_update(dict(type='NashMTL'), batch, dtype=dtype, **scale)['shared']
    mixed = mixed / scale.get('loss_scale', 1.0)  # what the scaler takes off again
    assert torch.allclose(plain, mixed, atol=0.05 * plain.abs().max())


def test_overflow_in_float16_skips_the_update_and_lowers_the_scale():
    model = make_toy()
    wrapper = make_wrapper(
        model, aggregator=dict(type='UPGrad'), dtype='float16', loss_scale='dynamic'
    )
    before, scale = flat(model), wrapper.scaler.get_scale()
    batch = batch_of(0)
    batch['targets'] *= 1e4
    train(model, wrapper, [batch])
    assert torch.equal(flat(model), before)
    assert wrapper.scaler.get_scale() == scale / 2
    state = wrapper.state_dict()
    again = make_wrapper(model, aggregator=dict(type='UPGrad'), dtype='float16')
    again.load_state_dict(state)
    assert again.scaler.get_scale() == scale / 2


def test_gradient_that_is_not_finite_stops_before_any_state_changes():
    for mode in ('raise', 'skip'):
        model = make_toy(dict(type='FixedWeights', on_nonfinite=mode))
        wrapper = make_wrapper(model, aggregator=dict(type='DBMTL'))
        batch = batch_of(0)
        train(model, wrapper, [batch])
        before, state = flat(model), wrapper.aggregator.state_dict()['state']
        # Finite losses whose gradients are not.
        model.backbone[0].weight.register_hook(lambda grad: grad * torch.inf)
        with torch.no_grad():
            model.backbone[0].weight[0, 0] = torch.nan if mode == 'raise' else before[0]
        if mode == 'raise':
            with pytest.raises(FloatingPointError, match='not finite in a, b, c, d'):
                train(model, wrapper, [batch])
        else:
            train(model, wrapper, [batch])
            assert torch.equal(flat(model), before)
        after = wrapper.aggregator.state_dict()['state']
        assert all(torch.equal(state[k], after[k]) for k in state)


def test_step_that_the_balancer_leaves_out_changes_nothing():
    model = make_toy(dict(type='FixedWeights', on_nonfinite='skip'))
    wrapper = make_wrapper(model, aggregator=dict(type='UPGrad'))
    train(model, wrapper, [batch_of(0)])
    before, bad = flat(model), batch_of(1)
    bad['targets'][0, 0] = torch.nan
    train(model, wrapper, [bad])
    assert torch.equal(flat(model), before)


def test_mistakes_are_named(monkeypatch):
    with pytest.raises(KeyError, match="Did you mean 'PCGrad'"):
        build_aggregator(dict(type='PCGrd'))
    with pytest.raises(KeyError, match='two batches'):
        build_aggregator(dict(type='SDMGrad'))
    with pytest.raises(KeyError, match='needs a `type`'):
        build_aggregator(dict(c=1))
    with pytest.raises(ValueError, match=r"type='CAGrad'.*argument"):
        build_aggregator(dict(type='CAGrad'))
    model = make_toy()
    wrapper = make_wrapper(model, aggregator=dict(type='MGDA'), shared='^encoder')
    with pytest.raises(ValueError, match=r"'\^encoder' matches no.*backbone"):
        train(model, wrapper, [batch_of(0)])
    with pytest.raises(ValueError, match='dtype'):
        make_wrapper(model, aggregator=dict(type='MGDA'), dtype='half')
    with pytest.raises(ValueError, match='LossBalancerHook'):
        bare = torch.nn.Linear(2, 2)
        with make_wrapper(bare, aggregator=dict(type='MGDA')).optim_context(bare):
            pass


@pytest.mark.parametrize(
    ('cfg', 'missing', 'extra'),
    [
        (dict(type='CAGrad', c=0.5), 'clarabel', 'torchjd[cagrad]'),
        (dict(type='NashMTL'), 'ecos', 'torchjd[nash_mtl]'),
        (dict(type='UPGrad'), 'quadprog', 'torchjd[quadprog_projector]'),
    ],
)
def test_missing_extra_is_one_message_when_the_wrapper_is_built(monkeypatch, cfg, missing, extra):
    import importlib.util

    find = importlib.util.find_spec
    for module in ('torchjd._mixins', 'torchjd._linalg._dual_cone'):
        if hasattr(sys.modules[module], 'find_spec'):
            monkeypatch.setattr(
                sys.modules[module], 'find_spec', lambda n: None if n == missing else find(n)
            )
    with pytest.raises(MissingDependencyError) as failure:
        make_wrapper(make_toy(), aggregator=cfg)
    assert f"type='{cfg['type']}'" in str(failure.value)
    assert missing in str(failure.value) and extra in str(failure.value)
