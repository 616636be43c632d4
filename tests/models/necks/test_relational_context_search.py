"""The search network of ATRC and its hook and optimizers."""

import copy
import json
import math
from types import SimpleNamespace

import pytest
import torch

from mmdense.engine.hooks import GenotypeSearchHook
from mmdense.engine.optim_wrappers import SplitOptimWrapper, SplitOptimWrapperConstructor
from mmdense.models.necks import RelationalContext, RelationalContextSearch
from mmdense.models.necks.genotypes import read_genotype
from mmdense.structures import DenseFeatures

TASKS = ['semseg', 'part']
CHANNELS = dict(semseg=5, part=3)


def make_search(seed=0):
    torch.manual_seed(seed)
    return RelationalContextSearch(16, TASKS, CHANNELS)


def features(supervised=True):
    x = torch.randn(2, 16, 6, 8, generator=torch.Generator().manual_seed(1))
    return DenseFeatures(shared=(x,), image_size=(24, 32), supervised=supervised)


def test_candidates_are_all_contexts_and_none():
    """Four of a task with itself, where both kinds of label are one; five of a pair."""
    search = make_search()
    p = search.probabilities()
    expected = torch.full((2, 2, 5), 0.2)
    expected[[0, 1], [0, 1]] = torch.tensor([0.25, 0.25, 0.25, 0.25, 0])
    torch.testing.assert_close(p, expected)
    entropy = search.entropy()
    own, other = math.log(4), math.log(5)
    torch.testing.assert_close(entropy, torch.tensor([[own, other], [other, own]]))


def test_entropy_and_its_weight():
    search = make_search()
    loss = search(features()).losses['genotype.loss_entropy']
    mean = (math.log(4) + math.log(5)) / 2
    assert loss.item() == pytest.approx(-0.02 * mean)
    search.entropy_weight = 0.06
    loss = search(features()).losses['genotype.loss_entropy']
    assert loss.item() == pytest.approx(0.06 * mean)
    assert not search(features(supervised=False)).losses
    # Deciding lowers the entropy: a step against the gradient sharpens the leading candidate.
    with torch.no_grad():
        search.genotype_logits[0, 1, 2] = 0.1
    search.entropy().mean().backward()
    grad = search.genotype_logits.grad
    assert grad[0, 1, 2] < 0 and grad.isfinite().all()


def test_weights_are_random_in_training_and_a_softmax_in_evaluation():
    search = make_search()
    one, two = search.weights(), search.weights()
    assert not torch.equal(one, two)
    torch.testing.assert_close(one.sum(-1), torch.ones(2, 2))
    assert not one[[0, 1], [0, 1], -1].any()
    with torch.no_grad():
        search.genotype_logits[0, 1, 3] = 0.5
    search.eval().temperature = 0.5
    torch.testing.assert_close(search.weights()[0, 1], torch.tensor([0, 0, 0, 1.0, 0]).softmax(0))
    search.temperature = 0.05
    assert search.weights()[0, 1, 3] > 0.999


def test_pairs_are_decided_for_good():
    search = make_search()
    gap = 0.3
    # p1 - p2 of one logit x against four of 0 is (e^x - 1) / (e^x + 4).
    edge = math.log((1 + 4 * gap) / (1 - gap))
    with torch.no_grad():
        search.genotype_logits[0, 1, 4] = edge + 1e-3
        search.genotype_logits[1, 0, 2] = edge - 1e-3
    search.freeze(gap)
    assert search.frozen.tolist() == [[False, True], [False, False]]
    with torch.no_grad():
        search.genotype_logits[0, 1] = torch.tensor([9.0, 0, 0, 0, 0])
    search.freeze(gap)
    assert search.weights()[0, 1].tolist() == [0, 0, 0, 0, 1]
    assert search.entropy()[0, 1] == 0
    assert search.genotype()[0][1] == 4
    # Its logits train no more, those of the others do.
    (search.weights() * torch.randn(2, 2, 5)).sum().backward()
    grad = search.genotype_logits.grad
    assert not grad[0, 1].any() and grad[1, 0].any()
    kept = make_search(seed=1)
    kept.load_state_dict(search.state_dict())
    assert torch.equal(kept.frozen, search.frozen) and torch.equal(kept.choice, search.choice)


def test_a_decided_network_uses_the_chosen_contexts_alone():
    search = make_search().eval()
    search.frozen.fill_(True)
    search.choice.copy_(torch.tensor([[3, 0], [1, 2]]))
    maps = {task: torch.randn(2, 4, 6, 8) for task in TASKS}
    labels = {task: torch.rand(2, 3, 48).softmax(2) for task in TASKS}
    contexts = search.pairs(maps, labels)
    mixed = search.combine(contexts)
    by_code = {(b.target, b.source, b.code): x for b, x in contexts.items()}
    torch.testing.assert_close(mixed['semseg'][0], by_code['semseg', 'semseg', 3])
    assert not mixed['semseg'][1].any()
    torch.testing.assert_close(mixed['part'][0], by_code['part', 'semseg', 1])
    torch.testing.assert_close(mixed['part'][1], by_code['part', 'part', 2])
    fixed = RelationalContext(16, TASKS, CHANNELS, search.genotype())
    assert fixed.genotype == ((3, 0), (1, 2))


def test_every_parameter_has_a_gradient_also_when_all_is_decided():
    search = make_search()
    for _ in range(2):
        search.zero_grad()
        out = search(features())
        total = sum(x.sum() for x in out.per_task.values()) + out.losses['genotype.loss_entropy']
        total.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in search.parameters())
        search.frozen.fill_(True)


def test_a_copy_is_independent():
    search = make_search()
    twin = copy.deepcopy(search)
    twin.frozen.fill_(True)
    assert not search.frozen.any()


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.neck = make_search()


def runner_of(tmp_path, model=None, max_iters=11):
    return SimpleNamespace(
        model=model or Model(), iter=0, max_iters=max_iters, work_dir=str(tmp_path)
    )


def test_the_hook_anneals_decides_and_writes(tmp_path):
    runner, hook = runner_of(tmp_path), GenotypeSearchHook(interval=4)
    hook.before_train(runner)
    search = runner.model.neck
    seen = []
    for runner.iter in range(11):
        hook.before_train_iter(runner, runner.iter)
        seen.append((search.temperature, search.entropy_weight))
        if runner.iter == 2:
            with torch.no_grad():
                search.genotype_logits[1, 0, 3] = 4.0
        hook.after_train_iter(runner, runner.iter)
        assert (tmp_path / 'genotype.json').exists() == (runner.iter >= 3)
    assert seen[0] == (1, -0.02) and seen[-1] == pytest.approx((0.05, 0.06))
    assert seen[5] == pytest.approx((0.525, 0.02))
    hook.after_train(runner)
    found = json.loads((tmp_path / 'genotype.json').read_text())
    assert found['tasks'] == TASKS and found['frozen'] == [[False, False], [True, False]]
    assert found['genotype'][1][0] == 3 and found['probabilities'][1][0] == [0, 0, 0, 1, 0]
    assert read_genotype(tmp_path / 'genotype.json', TASKS)[1][0] == 3


def test_the_hook_asks_for_a_search(tmp_path):
    with pytest.raises(ValueError, match='has 0 RelationalContextSearch, expected one'):
        GenotypeSearchHook().before_train(runner_of(tmp_path, torch.nn.Linear(1, 1)))
    with pytest.raises(ValueError, match='temperature is'):
        GenotypeSearchHook(temperature=(1, 0))


def split_config(**kwargs):
    return dict(
        type='SplitOptimWrapper',
        optimizer=dict(type='SGD', lr=0.5),
        second_optimizer=dict(type='Adam', lr=0.1),
        **kwargs,
    )


def built(model, **kwargs):
    paramwise = dict(second=['genotype_logits$'])
    return SplitOptimWrapperConstructor(split_config(**kwargs), paramwise)(model)


class Two(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([3.0]))
        self.genotype_logits = torch.nn.Parameter(torch.tensor([4.0]))

    def forward(self):
        return 3 * self.weight.sum() + 4 * self.genotype_logits.sum()


def test_both_optimizers_step_on_one_loss():
    model = Two()
    wrapper = built(model)
    assert isinstance(wrapper, SplitOptimWrapper)
    wrapper.update_params(model())
    assert model.weight.item() == pytest.approx(3 - 0.5 * 3)
    # The first step of Adam is its rate, whatever the gradient.
    assert model.genotype_logits.item() == pytest.approx(4 - 0.1, abs=1e-5)
    assert wrapper.get_lr()['lr'] == [0.5]
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


def test_gradients_are_clipped_together():
    model = Two()
    wrapper = built(model, clip_grad=dict(max_norm=1.0))
    wrapper.backward(model())
    wrapper.step()
    grads = [model.weight.grad.item(), model.genotype_logits.grad.item()]
    assert grads == pytest.approx([0.6, 0.8], abs=1e-5)


def test_both_states_are_kept():
    one, two = Two(), Two()
    first, second = built(one), built(two)
    first.update_params(one())
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    two.load_state_dict(one.state_dict())
    for model, wrapper in ((one, first), (two, second)):
        # Another gradient, so that Adam's moments matter.
        wrapper.update_params(model() ** 2)
    assert torch.equal(one.genotype_logits, two.genotype_logits)


def test_wrong_settings_are_named():
    with pytest.raises(ValueError, match='give 2 parameters to `optimizer` and 0'):
        SplitOptimWrapperConstructor(split_config(), dict(second=['logitz']))(Two())
    with pytest.raises(KeyError, match=r"paramwise_cfg\['secund'\].*Did you mean 'second'"):
        SplitOptimWrapperConstructor(split_config(), dict(secund=[]))
    cfg = dict(type='SplitOptimWrapper', optimizer=dict(type='SGD', lr=1.0))
    with pytest.raises(ValueError, match='needs `second_optimizer`'):
        SplitOptimWrapperConstructor(cfg)
