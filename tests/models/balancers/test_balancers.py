import copy
import math
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))
from balancing_utils import BALANCER_CFGS, TASKS, batch_of, make_toy, make_wrapper, named_cfg

from mmdense.models.balancers import FAMO, TaskMeans, find_balancer
from mmdense.registry import BALANCERS

VALUES = (0.7, 2.5, 0.1, 4.0)


def make(name, **kwargs):
    return BALANCERS.build(dict(type=name, tasks=list(TASKS), **kwargs))


def leaves(values=VALUES):
    return {
        k: torch.tensor(v, dtype=torch.float64, requires_grad=True) for k, v in zip(TASKS, values)
    }


def check(balancer, objective, values=VALUES):
    """Value and derivatives are those of a formula, a function of the losses."""
    losses, direct = leaves(values), leaves(values)
    total, _ = balancer(losses)
    total.backward()
    expected = objective(torch.stack(list(direct.values())))
    expected.backward()
    assert total.item() == pytest.approx(expected.item(), rel=1e-6)
    for key in TASKS:
        assert losses[key].grad.item() == pytest.approx(direct[key].grad.item(), rel=1e-6)


def test_fixed_and_equal_weights():
    weights = torch.tensor([2.0, 1, 0.5, 1], dtype=torch.float64)
    check(make('FixedWeights', weights=dict(a=2.0, c=0.5)), lambda x: (weights * x).sum())
    check(make('EqualWeights'), lambda x: x.mean())
    check(make('EqualWeights', reduction='sum'), lambda x: x.sum())


def test_uncertainty_weights_and_their_own_gradients():
    balancer = make('UncertaintyWeights', init_log_variance=-0.5, classification=['b'])
    half = torch.tensor([0.5, 1, 0.5, 0.5], dtype=torch.float64)
    s = torch.full((4,), -0.5, dtype=torch.float64, requires_grad=True)
    check(balancer, lambda x: (half * torch.exp(-s) * x + 0.5 * s).sum())
    assert torch.allclose(balancer.log_variance.grad.double(), s.grad, rtol=1e-5)
    with pytest.raises(ValueError, match='Known: a, b'):
        make('UncertaintyWeights', classification=['bb'])


def test_imtl_l_and_its_own_gradients():
    balancer = make('IMTLL')
    with torch.no_grad():
        balancer.log_scale += torch.tensor([0.1, -0.2, 0.3, 0.0])
    s = balancer.log_scale.detach().double().requires_grad_()
    check(balancer, lambda x: (torch.exp(s) * x - s).sum())
    assert torch.allclose(balancer.log_scale.grad.double(), s.grad, rtol=1e-5)


def test_geometric_loss():
    check(make('GeometricLoss'), lambda x: x.prod() ** 0.25)
    losses = leaves((0.0, 1.0, 1.0, 1.0))
    total, _ = make('GeometricLoss')(losses)
    total.backward()
    assert total.item() == pytest.approx(1e-2)
    assert losses['a'].grad == 0 and losses['b'].grad.isfinite()


def test_random_weights_are_a_softmax_and_differ_from_step_to_step():
    balancer = make('RandomWeights')
    drawn = [torch.stack(list(balancer(leaves())[1].values())) for _ in range(2)]
    assert all(d.sum().item() == pytest.approx(1) for d in drawn)
    # Of one iteration the same, on all processes and in a resumed run.
    from mmengine.logging import MessageHub

    hub = MessageHub.get_instance('of-random-weights')
    steps = []
    for iteration in (5, 5, 6):
        hub.update_info('iter', iteration)
        steps.append(torch.stack(list(balancer(leaves())[1].values())))
    assert torch.equal(steps[0], steps[1]) and not torch.equal(steps[0], steps[2])


def test_dynamic_weight_average():
    balancer = make('DynamicWeightAverage', temperature=1.5)
    rows = torch.rand(4, 4, dtype=torch.float64) + 0.5
    for index, row in enumerate(rows):
        if index < 2:
            check(balancer, lambda x: x.sum(), row.tolist())
        else:
            weights = 4 * torch.softmax(rows[index - 1] / rows[index - 2] / 1.5, dim=0)
            check(balancer, lambda x, w=weights: (w * x).sum(), row.tolist())
        balancer.step_epoch()


def test_dynamic_task_prioritization():
    kpis = dict(a='a/miou', b=dict(metric='b/acc', scale=0.01))
    balancer = make('DynamicTaskPrioritization', kpis=kpis, gamma=2, alpha=0.25)
    check(balancer, lambda x: x.sum())
    balancer.update_metrics({'a/miou': 0.4, 'b/acc': 80.0, 'c/x': 1.0})
    balancer.update_metrics({'a/miou': 0.8, 'b/acc': math.nan})
    k = {'a': 0.25 * 0.8 + 0.75 * 0.4, 'b': 0.8}
    weights = [-((1 - k[t]) ** 2) * math.log(k[t]) if t in k else 1.0 for t in TASKS]
    check(balancer, lambda x: (torch.tensor(weights, dtype=torch.float64) * x).sum())
    with pytest.raises(ValueError, match=r"indicator of 'a' is 40;.*scale"):
        balancer.update_kpi(dict(a=40))
    with pytest.raises(KeyError, match='b/acc'):
        balancer.update_metrics({'a/miou': 0.4})
    with pytest.raises(ValueError, match="'z' is no task"):
        make('DynamicTaskPrioritization', kpis=dict(z='m'))


def test_smooth_tchebycheff():
    balancer = make('SmoothTchebycheff', warmup_epochs=2, mu=0.5)
    for row in ((9.0, 9, 9, 9), (1.0, 2, 0.5, 3)):
        check(balancer, lambda x: x.log().sum(), row)
        balancer.step_epoch()
    nadir = torch.tensor([1.0, 2, 0.5, 3], dtype=torch.float64)
    check(balancer, lambda x: 4 * 0.5 * torch.logsumexp((x / nadir).log() / 0.5, dim=0))
    balancer.step_epoch()
    assert torch.equal(balancer.nadir, nadir)


def test_famo_objective_and_update():
    balancer = make('FAMO', lr=0.1, weight_decay=0.01, min_losses=dict(b=0.5))
    v = torch.tensor([0.3, -0.1, 0.0, 0.2], dtype=torch.float64)
    balancer.logits = v.clone()
    floor = torch.tensor([0, 0.5, 0, 0], dtype=torch.float64)

    def objective(x):
        z = torch.softmax(v, 0)
        gap = x - floor + 1e-8
        return (1 / (z / gap.detach()).sum()) * (z * gap.log()).sum()

    check(balancer, objective)
    losses = leaves()
    _, logs = balancer(losses)
    assert sum(w.item() for w in logs.values()) == pytest.approx(1, abs=1e-5)
    after = (0.5, 2.4, 0.2, 3.0)
    with torch.no_grad(), balancer.measure_after_step():
        balancer(leaves(after))
    before = torch.tensor(VALUES, dtype=torch.float64)
    fall = (before - floor + 1e-8).log() - (torch.tensor(after).double() - floor + 1e-8).log()
    logits = v.clone().requires_grad_()
    (torch.softmax(logits, 0) * fall).sum().backward()
    expected = v.clone().requires_grad_()
    expected.grad = logits.grad
    torch.optim.Adam([expected], lr=0.1, weight_decay=0.01).step()
    assert torch.allclose(balancer.logits, expected.detach(), rtol=1e-6, atol=1e-8)


def test_famo_may_measure_on_the_next_batch():
    same, following = make('FAMO'), make('FAMO', measure='next_batch')
    for values in (VALUES, (0.5, 2.4, 0.2, 3.0), (0.4, 2.4, 0.1, 2.0)):
        with torch.no_grad(), same.measure_after_step():
            if same.before.isfinite().all():
                same(leaves(values))
        same(leaves(values))
        following(leaves(values))
    assert torch.equal(same.logits, following.logits) and same.logits.abs().sum() > 0


@pytest.mark.parametrize('name', BALANCER_CFGS)
def test_task_without_labels_is_as_if_it_were_not_there(name):
    """In value, in all gradients, and in the state."""
    present = torch.tensor([1.0, 1, 0, 1], dtype=torch.float64)

    def run(third):
        torch.manual_seed(0)
        cfg = named_cfg(name, BALANCER_CFGS)
        balancer = BALANCERS.build(dict(cfg, tasks=list(TASKS)))
        grads = []
        for step in range(4):
            values = [v + 0.1 * step for v in VALUES]
            losses = leaves(values)
            vector = torch.tensor(values, dtype=torch.float64)
            absent = step % 2 == 1
            if absent:
                vector[2] = third
                losses['c'] = (0 * losses['c']).requires_grad_()
            counts = present if absent else torch.ones_like(present)
            means = TaskMeans(vector, torch.zeros_like(vector), counts)
            total, _ = balancer(losses, None, means)
            own = [p.grad for p in balancer.parameters()]
            total.backward()
            grads += [total.detach(), *(losses[k].grad for k in 'abd')]
            grads += [p.grad.clone() for p in balancer.parameters()]
            assert absent is False or all(g is None or g.isfinite().all() for g in own)
            balancer.step_epoch()
            balancer.after_step(vector.clamp(min=0.1) * 0.9, counts > 0)
        return torch.cat([g.flatten().double() for g in grads]), balancer.state_dict()

    (one, state), (two, other) = run(0.0), run(1e9)
    assert one.isfinite().all() and torch.equal(one, two)
    assert all(torch.equal(state[k].nan_to_num(-1), other[k].nan_to_num(-1)) for k in state)


@pytest.mark.parametrize('name', BALANCER_CFGS)
def test_no_labels_at_all_cost_nothing(name):
    balancer = BALANCERS.build(dict(named_cfg(name, BALANCER_CFGS), tasks=list(TASKS)))
    nothing = torch.zeros(4, dtype=torch.float64)
    losses = leaves((0.0,) * 4)
    total, _ = balancer(losses, None, TaskMeans(nothing, nothing, nothing))
    total.backward()
    assert total.item() == 0
    assert all(p.grad is not None and not p.grad.any() for p in balancer.parameters())
    assert all(loss.grad.isfinite() for loss in losses.values())


@pytest.mark.parametrize('name', BALANCER_CFGS)
def test_nan_poisons_no_state(name):
    balancer = BALANCERS.build(dict(named_cfg(name, BALANCER_CFGS), tasks=list(TASKS)))
    balancer(leaves())
    total, _ = balancer(leaves((math.nan, 1.0, math.inf, 2.0)))
    assert not total.isfinite()
    balancer.step_epoch()
    total, logs = balancer(leaves())
    assert total.isfinite() and all(w.isfinite() for w in logs.values())


@pytest.mark.parametrize('name', BALANCER_CFGS)
def test_copies_and_meta_construction(name):
    cfg = dict(named_cfg(name, BALANCER_CFGS), tasks=list(TASKS))
    balancer = BALANCERS.build(copy.deepcopy(cfg))
    balancer(leaves())
    twin = copy.deepcopy(balancer)
    assert twin.state_dict().keys() == balancer.state_dict().keys()
    with torch.device('meta'):
        built = BALANCERS.build(cfg)
    assert all(tensor.is_meta for tensor in built.state_dict().values())


def test_skipped_step_names_task_and_iteration_and_leaves_no_trace(monkeypatch):
    said = []
    monkeypatch.setattr(
        'mmdense.models.balancers.step.print_log', lambda text, **kwargs: said.append(text)
    )
    model = make_toy(dict(type='LossPrioritization', on_nonfinite='skip'))
    batch = batch_of(0)
    total, logged = model.parse_losses(model(**batch))
    assert logged['skipped'] == 0
    state = copy.deepcopy(model.balancer.state_dict())
    batch['targets'][0, 1] = math.nan
    model.balancer.contributed = False
    total, logged = model.parse_losses(model(**batch))
    total.backward()
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters())
    assert logged['skipped'] == 1 and not model.balancer.contributed
    assert all(value.isfinite() for value in logged.values())
    assert 'b.loss' in said[0] and 'a.loss' not in said[0]
    found = model.balancer.state_dict()
    assert all(torch.equal(state[k].nan_to_num(-1), found[k].nan_to_num(-1)) for k in state)
    with pytest.raises(FloatingPointError, match=r'b\.loss'):
        for _ in range(20):
            model.parse_losses(model(**batch))


def test_terms_of_a_step_sum_to_the_gradient_of_the_total():
    model = make_toy(dict(type='UncertaintyWeights', aux_losses='added'))
    model.balancer.keep_terms = True
    params = list(model.parameters())
    total, _ = model.parse_losses(model(**batch_of(0)))
    terms = model.balancer.terms
    whole = torch.autograd.grad(total, params, retain_graph=True)
    pieces = torch.autograd.grad(sum(terms.rows.values()) + terms.rest, params)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(whole, pieces))
    values = torch.stack(list(terms.rows.values()))
    assert torch.allclose(terms.means.float(), values, rtol=1e-5)


def test_find_balancer():
    model = make_toy(dict(type='FAMO'))
    assert isinstance(find_balancer(model), FAMO)
    assert find_balancer(torch.nn.Linear(1, 1)) is None
    make_wrapper(model)
