import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.model import ExponentialMovingAverage
from mmengine.optim.scheduler import PolyLR

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
from balancing_utils import TASKS, batch_of, flat, make_toy
from test_balancing_runs import FORKS, run, run_and_kill

from mmdense.engine.hooks import GradientDiagnosticsHook, LoadReportHook, LossBalancerHook
from mmdense.engine.hooks.balancer_hook import _leave_out, unchanged_statistics
from mmdense.engine.hooks.gradient_picture import draw_diagnostics
from mmdense.engine.optim_wrappers import PatternOptimWrapperConstructor, separate_balancer
from mmdense.models.balancers import UncertaintyWeights

LPS = dict(type='LossPrioritization', history=2)


def test_epochs_of_the_loop_or_of_the_balancer_are_counted(tmp_path):
    looped = run(tmp_path / 'a', LPS, {}, by_epoch=True).model.balancer
    counted = run(tmp_path / 'b', LPS, {}).model.balancer
    assert looped.epochs.closed == counted.epochs.closed == 6
    # The same batches in the same order: the same weights, in the checkpoint too.
    assert torch.equal(looped.weights, counted.weights)
    saved = torch.load(tmp_path / 'b/iter_24.pth', weights_only=False)['state_dict']
    assert torch.equal(saved['balancer.weights'], counted.weights)


def test_loop_without_epochs_is_refused(tmp_path):
    loop = dict(train_cfg=dict(type='IterBasedTrainLoop', max_iters=4))
    with pytest.raises(ValueError, match=r'balancer\.interval'):
        run(tmp_path, LPS, {}, by_epoch=True, **loop)


def test_nan_stops_a_run_and_names_task_and_iteration(tmp_path, monkeypatch):
    import balancing_utils

    forward = balancing_utils.BalancedToyModel.forward

    def broken(self, inputs, targets, labelled, mode='loss'):
        hub = MessageHub.get_current_instance()
        if hub.get_info('iter') == 5:
            targets = targets.clone()
            targets[0, 3] = torch.nan
        return forward(self, inputs, targets, labelled, mode)

    monkeypatch.setattr(balancing_utils.BalancedToyModel, 'forward', broken)
    with pytest.raises(FloatingPointError, match=r'Iteration 6.* d\.loss'):
        run(tmp_path / 'a', dict(LPS), {})
    skipped = run(tmp_path / 'b', dict(LPS, on_nonfinite='skip'), {})
    assert flat(skipped.model).nan_to_num().isfinite().all()
    assert skipped.model.balancer.epochs.closed == 6


def test_step_that_is_left_out_moves_nothing_by_momentum_or_decay(tmp_path, monkeypatch):
    import balancing_utils

    seen = []
    parse = balancing_utils.BalancedToyModel.parse_losses

    def broken(self, losses):
        seen.append(torch.cat([p.detach().flatten() for p in self.parameters()]))
        if len(seen) == 3:
            losses['a'] = losses['a'] * torch.nan
        return parse(self, losses)

    monkeypatch.setattr(balancing_utils.BalancedToyModel, 'parse_losses', broken)
    run(tmp_path, dict(type='FixedWeights', on_nonfinite='skip'), {})
    assert torch.equal(seen[2], seen[3])
    assert not torch.equal(seen[1], seen[2]) and not torch.equal(seen[3], seen[4])


def test_learned_weights_get_a_group_without_decay_whatever_made_the_groups():
    for make in (_one_group, _groups_of_one, _without):
        model = make_toy(dict(type='UncertaintyWeights'))
        optimizer = torch.optim.SGD(make(model), lr=0.1, weight_decay=0.1)
        scheduler = PolyLR(optimizer, end=10, by_epoch=False)
        separate_balancer(model.balancer, optimizer, [scheduler])
        own = [
            group
            for group in optimizer.param_groups
            if any(p is model.balancer.log_variance for p in group['params'])
        ]
        assert len(own) == 1 and len(own[0]['params']) == 1
        assert own[0]['weight_decay'] == 0 and own[0]['lr'] == 0.1
        kept = [p for group in optimizer.param_groups for p in group['params']]
        assert len(kept) == len(list(model.parameters()))
        optimizer.step()
        scheduler.step()
        rates = {group['lr'] for group in optimizer.param_groups}
        assert len(rates) == 1 and rates.pop() < 0.1


def _one_group(model):
    return [dict(params=list(model.parameters()))]


def _groups_of_one(model):
    return [dict(params=[p]) for p in model.parameters()]


def _without(model):
    return [dict(params=[*model.backbone.parameters(), *model.heads.parameters()])]


def test_pattern_constructor_makes_the_group_too():
    model = make_toy(dict(type='UncertaintyWeights'))
    cfg = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, weight_decay=0.1))
    built = PatternOptimWrapperConstructor(cfg, dict(decay_vectors=True))(model)
    groups = built.optimizer.param_groups
    assert [g['weight_decay'] for g in groups] == [0.1, 0.0]
    assert [len(g['params']) for g in groups] == [12, 1]


def test_famo_measures_the_same_batch_with_the_same_random_numbers(tmp_path, monkeypatch):
    """With no step in between the second measurement equals the first."""
    import balancing_utils

    forward = balancing_utils.BalancedToyModel.forward

    def dropped(self, inputs, targets, labelled, mode='loss'):
        return forward(self, inputs + torch.rand_like(inputs), targets, labelled, mode)

    monkeypatch.setattr(balancing_utils.BalancedToyModel, 'forward', dropped)
    falls = []
    update = balancing_utils.BALANCERS.get('FAMO')._update
    monkeypatch.setattr(
        balancing_utils.BALANCERS.get('FAMO'),
        '_update',
        lambda self, after: (falls.append(self.before - after), update(self, after))[1],
    )
    frozen = dict(optimizer=dict(type='SGD', lr=0.0))
    run(
        tmp_path,
        dict(type='FAMO', weight_decay=0.0),
        {},
        optim_wrapper=frozen,
        param_scheduler=None,
    )
    assert len(falls) == 24
    assert not torch.stack(falls).nan_to_num().any()


def test_statistics_of_norms_are_unchanged_by_a_measurement():
    model = torch.nn.BatchNorm1d(3)
    with unchanged_statistics(model):
        model(torch.randn(4, 3) + 5)
    assert not model.running_mean.any() and model.num_batches_tracked == 0


def test_averaged_models_leave_the_balancer_alone():
    model = make_toy(LPS)
    averaged = ExponentialMovingAverage(model, momentum=0.5, update_buffers=True)
    _leave_out(averaged, model.balancer)
    names = set(averaged.avg_parameters)
    assert {n for n in model.state_dict() if n not in names} == {
        f'balancer.{n}' for n in model.balancer.state_dict()
    }
    model.balancer.weights += 1
    averaged.update_parameters(model)
    averaged.update_parameters(model)
    assert averaged.module.balancer.weights.tolist() == [1] * 4


def test_weights_of_another_run_come_without_the_state_of_its_balancer(tmp_path):
    first = run(tmp_path / 'a', LPS, {})
    assert first.model.balancer.epochs.closed == 6
    report = dict(default_hooks=dict(load_report=dict(type='LoadReportHook')))
    one = dict(type='IterBasedTrainLoop', max_iters=1)
    from_file = dict(load_from=str(tmp_path / 'a/iter_24.pth'), train_cfg=one, **report)
    fresh = run(tmp_path / 'b', LPS, {}, **from_file)
    assert fresh.model.balancer.epochs.closed == 0
    assert any(isinstance(hook, LoadReportHook) for hook in fresh.hooks)
    other = run(tmp_path / 'c', dict(type='UncertaintyWeights'), {}, **from_file)
    assert other.model.balancer.log_variance.abs().max() < 0.05


class Foreign(torch.nn.Module):
    """A model of another code base: named losses, lists among them."""

    def __init__(self):
        super().__init__()
        self.backbone = torch.nn.Linear(6, 4)

    def losses(self):
        feats = self.backbone(torch.ones(2, 6))
        return {
            'loss_cls': [feats[0].square(), feats[1].square()],
            'loss_bbox': feats.square().mean(),
            'd0.loss_bbox': 2 * feats.square().mean(),
            'acc': feats.detach().mean(),
        }


HOOK = dict(tasks=dict(cls='loss_cls', box='bbox'), balancer=dict(type='FixedWeights'))


def test_losses_of_foreign_models_are_sorted_by_pattern():
    torch.manual_seed(0)
    model = Foreign()
    weights = dict(type='FixedWeights', weights=dict(box=3.0), aux_losses='added')
    hook = LossBalancerHook(**dict(HOOK, balancer=weights, aux=r'^d\d+\.'))
    hook.attach(model)
    losses = model.losses()
    total, logged = model.parse_losses(losses)
    cls = sum(x.mean() for x in losses['loss_cls'])
    box = losses['loss_bbox']
    assert torch.isclose(total, cls + 3 * box + 2 * box)
    assert torch.isclose(logged['box.loss'], 3 * box)
    assert {'loss', 'loss_cls', 'd0.loss_bbox', 'acc', 'cls.loss'} <= set(logged)
    total.backward()
    assert model.backbone.weight.grad.isfinite().all()


def test_task_without_losses_in_a_batch_counts_as_missing():
    model = Foreign()
    LossBalancerHook(**dict(HOOK, balancer=dict(type='GeometricLoss'))).attach(model)
    losses = {'loss_cls': model.losses()['loss_cls']}
    total, _ = model.parse_losses(losses)
    assert torch.isclose(total, sum(x.mean() for x in losses['loss_cls']))


def test_mistakes_of_the_loss_balancer_hook_are_named():
    model = Foreign()
    LossBalancerHook(**dict(HOOK, tasks=dict(cls='loss_cls'))).attach(model)
    with pytest.raises(KeyError, match="'loss_bbox' matches no pattern"):
        model.parse_losses(model.losses())
    with pytest.raises(ValueError, match='has a loss balancer already'):
        LossBalancerHook(**HOOK).attach(make_toy())
    with pytest.raises(ValueError, match='tasks is empty'):
        LossBalancerHook(tasks={}, balancer={})
    with pytest.raises(TypeError, match="'loss_cls' is float"):
        model.parse_losses(dict(loss_cls=1.0))
    added = Foreign()
    hook = LossBalancerHook(**dict(HOOK, tasks=dict(cls='loss_cls'), unmatched='added'))
    hook.attach(added)
    total, _ = added.parse_losses(losses := added.losses())
    assert torch.isclose(total, sum(x.mean() for x in losses['loss_cls']) + 3 * losses['loss_bbox'])


@FORKS
def test_loss_balancer_hook_in_a_run_trains_saves_and_resumes(tmp_path, monkeypatch):
    """Learned weights reach the optimizer although they come after it."""
    import balancing_utils
    from mmengine.model import BaseModel

    class Plain(balancing_utils.BalancedToyModel):
        def __init__(self, balancer=None):
            super().__init__(balancer)
            del self.balancer

        def forward(self, inputs, targets, labelled, mode='loss'):
            losses = super().forward(inputs, targets, labelled, mode)
            return {f'loss_{k}': v for k, v in losses.items() if k in TASKS}

        parse_losses = BaseModel.parse_losses

    balancing_utils.MODELS.register_module(name='PlainToy', module=Plain, force=True)
    tasks = {key: f'loss_{key}$' for key in TASKS}
    hook = dict(type='LossBalancerHook', tasks=tasks, balancer=dict(type='UncertaintyWeights'))
    kwargs = dict(hooks=[hook], model=dict(type='PlainToy'))
    whole = run(tmp_path / 'a', None, {}, **kwargs).model
    assert isinstance(whole.loss_balancer, UncertaintyWeights)
    assert whole.loss_balancer.log_variance.abs().min() > 1e-4
    run_and_kill(tmp_path / 'b', None, {}, kill=15, **kwargs)
    assert not (tmp_path / 'b/iter_24.pth').exists()
    parts = run(tmp_path / 'b', None, {}, resume=True, **kwargs).model
    assert torch.equal(flat(whole), flat(parts))
    aggregated = run(tmp_path / 'c', None, dict(aggregator=dict(type='UPGrad')), **kwargs).model
    assert not torch.equal(flat(whole), flat(aggregated))


def test_diagnostics_do_not_change_the_training_and_measure_what_they_say(tmp_path):
    hook = dict(type='GradientDiagnosticsHook', interval=4)
    plain = run(tmp_path / 'plain', None, {})
    watched = run(tmp_path / 'watched', None, {}, hooks=[hook])
    assert torch.equal(flat(plain.model), flat(watched.model))
    lines = (tmp_path / 'watched/gradient_diagnostics.json').read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row['iter'] for row in rows] == [4, 8, 12, 16, 20, 24]
    assert all(row['share_a'] > 0 for row in rows)
    # Batch 4 is the one with index 3, which lacks 'c'.
    assert 'cos_a_c' not in rows[0] and 'share_c' not in rows[0]
    shown = (tmp_path / 'watched/gradient_diagnostics.png').read_bytes()
    assert shown[:4] == b'\x89PNG'


@FORKS
def test_diagnostics_of_a_resumed_run_continue_the_file(tmp_path):
    hooks = [dict(type='GradientDiagnosticsHook', interval=5)]
    run(tmp_path / 'a', None, {}, hooks=hooks)
    run_and_kill(tmp_path / 'b', None, {}, hooks=hooks, kill=17)
    run(tmp_path / 'b', None, {}, hooks=hooks, resume=True)
    a, b = ((tmp_path / x / 'gradient_diagnostics.json').read_text() for x in 'ab')
    assert a == b


def test_cosines_are_those_of_the_gradients():
    model = make_toy()
    hook = GradientDiagnosticsHook(interval=1)
    hook.params = list(model.backbone.parameters())
    hook._due = True
    model.balancer.observers.append(hook._observe)
    losses = model(**batch_of(0))
    model.parse_losses(losses)
    grads = []
    for key in TASKS:
        factor = 1.3 if key == 'b' else 1.0
        found = torch.autograd.grad(factor * losses[key], hook.params, retain_graph=True)
        grads.append(torch.cat([g.flatten() for g in found]))
    cosine = torch.nn.functional.cosine_similarity(grads[0], grads[1], dim=0)
    assert hook._measured['cos_a_b'] == pytest.approx(cosine.item(), abs=1e-5)
    assert hook._measured['norm_b'] == pytest.approx(grads[1].norm().item(), rel=1e-4)
    pairs = [(i, j) for i in range(4) for j in range(i)]
    conflicts = np.mean([(grads[i] @ grads[j] < 0).item() for i, j in pairs])
    assert hook._measured['conflicts'] == pytest.approx(conflicts)
    assert sum(hook._measured[f'share_{key}'] for key in TASKS) == pytest.approx(1)


def test_one_measurement_is_enough_for_a_picture(tmp_path):
    row = dict(iter=1, cos_a_b=-0.5, conflicts=1.0, norm_a=2.0, share_a=1.0)
    assert draw_diagnostics([row], tmp_path / 'x/one.png').exists()
