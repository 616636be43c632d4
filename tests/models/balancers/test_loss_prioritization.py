import math

import pytest
import torch

from mmdense.models.balancers import EpochMeans, LossPrioritization, TaskMeans

# Two tasks, history 2, spread 2; the raw weights, the weights and their factors.
EPOCHS = ((2, 1), (1.5, 0.9), (1.2, 0.9), (0.9, 0.85))
WEIGHTS = ((1, 1), (0.843750, 1.218750), (0.642857, 1.500000), (0.586667, 1.531429))
FACTORS = (
    (0.693147, 0.693147),
    (0.611802, 0.796944),
    (0.496437, 0.916291),
    (0.461635, 0.928784),
)


def make(tasks='ab', **kwargs):
    return LossPrioritization(tasks=list(tasks), **kwargs)


def step(balancer, values, aux=None):
    losses = {k: torch.tensor(float(v), requires_grad=True) for k, v in zip(balancer.tasks, values)}
    total, logs = balancer(losses, aux)
    total.backward()
    return total, [loss.grad.item() for loss in losses.values()], logs


def epochs(balancer, rows):
    """Weights after each epoch of one step."""
    found = []
    for row in rows:
        step(balancer, row)
        balancer.step_epoch()
        found.append(balancer.weights.clone())
    return torch.stack(found)


def test_known_answers():
    balancer = make(history=2, spread=2)
    for values, weights, factors in zip(EPOCHS, WEIGHTS, FACTORS):
        step(balancer, values)
        balancer.step_epoch()
        assert balancer.weights.tolist() == pytest.approx(weights, abs=1e-6)
        assert balancer.factors().tolist() == pytest.approx(factors, abs=1e-6)
    total, grads, logs = step(balancer, (3.0, 5.0))
    assert total.item() == pytest.approx(3 * FACTORS[3][0] + 5 * FACTORS[3][1], abs=1e-5)
    assert grads == pytest.approx(FACTORS[3], abs=1e-6)
    assert logs['a.weight'].item() == pytest.approx(FACTORS[3][0], abs=1e-6)


def test_identity_spread_and_history_of_one_is_the_ratio_of_dwa_over_that_of_the_total():
    rows = torch.rand(4, 3, dtype=torch.float64) + 0.5
    found = epochs(make('abc', history=1, spread=1), rows.tolist())
    for n in range(1, 4):
        ratio = rows[n] / rows[n - 1]
        expected = ratio / (rows[n].sum() / rows[n - 1].sum())
        assert torch.allclose(found[n], expected, rtol=1e-6)


def test_telescoped_ratio_is_the_product_over_epochs_with_the_current_total():
    rows = torch.rand(5, 3, dtype=torch.float64) + 0.5
    totals = rows.sum(1)
    product = torch.ones(3, dtype=torch.float64)
    literal = torch.ones(3, dtype=torch.float64)
    for k in range(1, 4):
        now, before = rows[4 - k + 1], rows[4 - k]
        product *= (now / before) / (totals[4 - k + 1] / totals[4 - k])
        literal *= (now / before) / (now / totals[4 - k])
    found = epochs(make('abc', spread=1), rows.tolist())[-1]
    assert torch.allclose(found, product, rtol=1e-6)
    found = epochs(make('abc', spread=1, ratio='literal'), rows.tolist())[-1]
    assert torch.allclose(found, literal, rtol=1e-6)
    assert (found >= 1).all()


def test_permuted_tasks_have_permuted_weights():
    rows = (torch.rand(4, 3) + 0.5).tolist()
    one = epochs(make('abc'), rows)
    two = epochs(make('abc'), [[r[2], r[0], r[1]] for r in rows])
    assert torch.allclose(one[:, [2, 0, 1]], two)


def test_scaling_one_task_acts_through_the_total_only():
    rows = torch.rand(4, 3, dtype=torch.float64) + 0.5
    scaled = rows * torch.tensor([100.0, 1, 1], dtype=torch.float64)
    one = epochs(make('abc', spread=1), rows.tolist())[-1]
    two = epochs(make('abc', spread=1), scaled.tolist())[-1]
    # The same factor for all tasks: each one's own ratio is as it was.
    assert torch.allclose(two / one, (two / one)[0].expand(3), rtol=1e-5)
    pace = (rows.sum(1)[3] / rows.sum(1)[0]) / (scaled.sum(1)[3] / scaled.sum(1)[0])
    assert (two / one)[0] == pytest.approx(pace.item(), rel=1e-5)


def test_means_of_all_processes_count_each_process_once():
    balancer = make()
    losses = {'a': torch.tensor(1.0), 'b': torch.tensor(2.0)}
    zero = torch.zeros(2, dtype=torch.float64)
    # 'a' has labels on three processes in the first step and on one in the second.
    for values, counts in (((2.0, 1.0), (3.0, 1.0)), ((6.0, 4.0), (1.0, 0.0))):
        as_vector = torch.tensor(values, dtype=torch.float64)
        means = TaskMeans(as_vector, zero, torch.tensor(counts, dtype=torch.float64))
        balancer({k: v.clone().requires_grad_() for k, v in losses.items()}, None, means)
    balancer.step_epoch()
    assert balancer.epochs.ago(0).tolist() == [(3 * 2 + 6) / 4, 1.0]


def test_sum_of_processes_at_the_end_of_an_epoch_for_other_training_loops():
    parts = [make(), make()]
    step(parts[0], (1.0, 4.0))
    step(parts[1], (3.0, 2.0))
    other = torch.stack([parts[1].epochs.sums, parts[1].epochs.counts])
    parts[0].step_epoch(lambda own: own + other)
    assert parts[0].epochs.ago(0).tolist() == [2.0, 3.0]


def test_nan_step_empty_task_and_zero_loss_leave_the_state_sound():
    balancer = make('abc', history=1, spread=1)
    step(balancer, (2.0, 1.0, 1.0))
    step(balancer, (math.nan, math.inf, 3.0))
    balancer.step_epoch()
    assert balancer.epochs.ago(0).tolist() == [2.0, 1.0, 2.0]
    step(balancer, (math.nan, 0.0, 2.0))  # no usable mean: that of the epoch before
    balancer.step_epoch()
    assert balancer.epochs.ago(0).tolist() == [2.0, 1.0, 2.0]
    assert balancer.weights.tolist() == [1.0, 1.0, 1.0]


def test_task_that_comes_late_weighs_one_and_is_left_out_of_total_and_mean():
    late = make('abc', history=1, spread=2)
    rows = ((2.0, 1.0), (1.5, 0.9))
    for row in rows:
        step(late, (*row, math.nan))
        late.step_epoch()
    plain = epochs(make('ab', history=1, spread=2), rows)[-1]
    assert late.weights.tolist() == pytest.approx([*plain.tolist(), 1.0])
    step(late, (1.2, 0.9, 5.0))
    late.step_epoch()
    assert late.weights[2] == 1.0 and late.weights.isfinite().all()


def test_clamp_is_not_sticky_and_has_a_floor():
    found = epochs(make(history=1, spread=5), ((1.0, 1.0), (0.2, 1.0), (0.2, 1.0)))
    assert found[1, 0] == 0 and found[1, 1] > 1
    assert found[2].tolist() == pytest.approx([1.0, 1.0])
    floored = epochs(make(history=1, spread=5, min_weight=0.05), ((1.0, 1.0), (0.2, 1.0)))
    assert floored[1, 0] == 0.05


def test_clamp_warning_names_the_task(monkeypatch):
    said = []
    monkeypatch.setattr(
        'mmdense.models.balancers.loss_prioritization.print_log',
        lambda text, **kwargs: said.append(text),
    )
    epochs(make(history=1, spread=5), ((1.0, 1.0), (0.2, 1.0)))
    assert len(said) == 1 and "'a'" in said[0] and 'after epoch 2' in said[0]


def test_warmup_can_hold_and_the_first_weights_can_be_inverse_shares():
    held = epochs(make(history=2, spread=1, warmup='hold'), EPOCHS)
    assert held[:2].tolist() == [[1, 1], [1, 1]]
    assert held[2].tolist() == pytest.approx([0.857143, 1.285714], abs=1e-6)
    first = epochs(make(first='inverse_share', spread=7.5), EPOCHS)
    assert first[0].tolist() == pytest.approx([3 / 2, 3.0])


def test_log_modes_and_smoothing_alone():
    plain = make(log_mode='none')
    plain.weights = torch.tensor([0.5, 2.0], dtype=torch.float64)
    total, grads, _ = step(plain, (3.0, 5.0))
    assert (total.item(), grads) == (pytest.approx(11.5), pytest.approx([0.5, 2.0]))
    smooth = make(log_mode='loss', prioritize=False)
    epochs(smooth, EPOCHS)
    total, grads, _ = step(smooth, (3.0, 5.0))
    assert total.item() == pytest.approx(math.log(4) + math.log(6), abs=1e-5)
    assert grads == pytest.approx([1 / 4, 1 / 6], abs=1e-5)


def test_auxiliary_losses_are_added_with_weight_one_and_never_counted():
    balancer = make()
    extra = torch.tensor(7.0, requires_grad=True)
    total, _, _ = step(balancer, (1.0, 2.0), dict(a=extra))
    assert total.item() == pytest.approx(3 * math.log(2) + 7, abs=1e-5)
    assert extra.grad == 1
    assert balancer.epochs.sums.tolist() == [1.0, 2.0]
    inside = make(aux_losses='weighted')
    total, _, _ = step(inside, (1.0, 2.0), dict(a=torch.tensor(7.0)))
    assert total.item() == pytest.approx(10 * math.log(2), abs=1e-5)


def test_saved_in_the_middle_of_an_epoch_and_loaded_is_the_same_in_every_bit(tmp_path):
    rows = (torch.rand(12, 2) + 0.1).tolist()

    def run(balancer, part):
        for index in part:
            step(balancer, rows[index])
            if index % 3 == 2:
                balancer.step_epoch()

    whole, first, second = make(), make(), make()
    run(whole, range(12))
    run(first, range(7))
    torch.save(first.state_dict(), tmp_path / 'a.pth')
    second.load_state_dict(torch.load(tmp_path / 'a.pth'))
    run(second, range(7, 12))
    a, b = whole.state_dict(), second.state_dict()
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k].nan_to_num(-1), b[k].nan_to_num(-1)) for k in a)


def test_order_of_tasks_is_checked_when_a_state_is_loaded():
    with pytest.raises(ValueError, match=r"\['a', 'b'\].*\['b', 'a'\]"):
        make('ba').load_state_dict(make('ab').state_dict())


def test_casts_of_the_model_keep_every_digit():
    balancer = make()
    balancer.weights = torch.tensor([1 / 3, 1e-300], dtype=torch.float64)
    before = balancer.weights.clone()
    model = torch.nn.Sequential(balancer, torch.nn.Linear(2, 2)).half().to(torch.bfloat16)
    assert model[1].weight.dtype == torch.bfloat16
    assert balancer.weights.dtype == balancer.epochs.history.dtype == torch.float64
    assert torch.equal(balancer.weights, before)
    assert balancer.to('meta').weights.is_meta


def test_evaluating_losses_does_not_count():
    balancer = make()
    with torch.no_grad():
        balancer({'a': torch.tensor(1.0), 'b': torch.tensor(1.0)})
    balancer.eval()
    step(balancer, (1.0, 2.0))
    assert balancer.epochs.counts.tolist() == [0, 0]


def test_epoch_means_forget_all_but_the_last_rows():
    means = EpochMeans(1, 2)
    one, yes = torch.ones(1, dtype=torch.float64), torch.tensor([True])
    for value in (1.0, 2.0, 3.0):
        means.add(value * one, yes, one)
        means.close()
    assert means.history.tolist() == [[2.0], [3.0]]
    assert (means.ago(1).item(), means.closed.item()) == (2.0, 3)


@pytest.mark.parametrize(
    ('kwargs', 'text'),
    [
        (dict(history=0), 'history=0'),
        (dict(min_weight=-0.1), 'min_weight=-0.1'),
        (dict(ratio='both'), "'telescoped' or 'literal'"),
        (dict(log_mode='log'), "'weight' or 'loss' or 'none'"),
        (dict(aux_losses='no'), 'aux_losses'),
        (dict(on_nonfinite='stop'), 'on_nonfinite'),
        (dict(interval=0), 'interval is 0'),
    ],
)
def test_wrong_arguments_are_named(kwargs, text):
    with pytest.raises(ValueError, match=text):
        make(**kwargs)
    with pytest.raises(ValueError, match='task keys'):
        LossPrioritization()
    with pytest.raises(KeyError, match=r"\['a', 'z'\]"):
        make()({'a': torch.ones(()), 'z': torch.ones(())})
