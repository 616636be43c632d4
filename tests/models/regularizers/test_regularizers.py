import copy
import warnings

import pytest
import torch
import torch.nn.functional as F
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from torch import nn
from triplane_scenes import SIZE, SMALL, TASKS, make, maps, samples

from mmdense.models.regularizers import (
    AuxHeadRegularizer,
    AuxiliaryMaps,
    FeatureRegularizer,
    TokensToMap,
    TriplaneEncoder,
    TriplaneField,
    TriplaneRegularizer,
    TriplaneRenderer,
    add_regularizers,
)
from mmdense.models.regularizers.run_clock import RunClock
from mmdense.registry import MODELS
from mmdense.structures import DenseDataSample
from mmdense.tasks import build_tasks
from mmdense.utils import ShapeError


@pytest.fixture(autouse=True)
def no_run():
    """Nothing of another test's run is left in the message hub."""
    MessageHub._instance_dict.clear()


# -- losses --------------------------------------------------------------------------


@pytest.mark.parametrize('kind', [TriplaneRegularizer, AuxHeadRegularizer])
def test_losses_are_those_of_the_tasks_on_the_enlarged_render(kind):
    branch = make(kind, dropout=0.0, loss_weights=dict(depth=0.5)).eval()
    truth = samples(branch.tasks)
    losses = branch(maps(), truth, iteration=2)
    found = branch.predict(maps(), SIZE, None).logits
    assert found['semseg'].shape == (2, 3, 4, 6)
    label = torch.stack([s.gt_sem_seg.data[0] for s in truth]).long()
    big = F.interpolate(found['semseg'], SIZE, mode='bilinear', align_corners=False)
    expected = F.cross_entropy(big, label)
    torch.testing.assert_close(losses[f'{branch.name}.raw_semseg'], expected)
    torch.testing.assert_close(losses[f'{branch.name}.loss_semseg'], 2 * expected)
    raw = losses[f'{branch.name}.raw_depth']
    torch.testing.assert_close(losses[f'{branch.name}.loss_depth'], 2 * 0.5 * raw)
    assert losses[f'{branch.name}.alpha'] == 2
    assert not any(losses[k].requires_grad for k in losses if 'loss' not in k)


def test_a_task_without_labels_gives_a_connected_zero():
    branch = make(tasks=('semseg', 'depth'))
    truth = samples({'semseg': branch.tasks['semseg']})
    losses = branch(maps(), truth, iteration=4)
    assert losses['triplane.loss_depth'] == 0
    losses['triplane.loss_depth'].backward(retain_graph=True)
    sum(v for k, v in losses.items() if 'loss' in k).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in branch.parameters())


@pytest.mark.parametrize(
    'changes',
    [
        dict(planes=('xy',)),
        dict(field='pixel_aligned'),
        dict(plane_layout='xy_xz_zx'),
        dict(density='shared', importance='shared'),
        dict(importance='shared', aggregation='mean'),
        dict(rule='left_opaque', closure='normalize', padding='zeros'),
        dict(jitter='per_ray', fine=0),
        dict(jitter='none', plane_act='none', dropout_each=True),
        dict(depth_from='expected_z'),
        dict(table_dtype='fp16', chunk_mib=0.01, plane_stride=8),
        dict(ray_patch=0.25),
    ],
    ids=str,
)
def test_every_control_trains_all_it_has(changes):
    branch = make(tasks=('semseg', 'depth', 'normal'), **changes)
    given = maps(1)
    losses = branch(given, samples(branch.tasks, 1), iteration=4)
    sum(v for k, v in losses.items() if 'loss' in k).backward()
    missing = [n for n, p in branch.named_parameters() if p.grad is None or not p.grad.any()]
    # One pixel of the density's last bias may cancel; nothing may be out of the graph.
    assert all(p.grad is not None for p in branch.parameters())
    assert not missing
    assert all(m.grad.abs().max() > 0 for m in given)


def test_both_backends_train_the_same():
    found = []
    for backend in ('factorised', 'naive'):
        torch.manual_seed(0)
        branch = make(backend=backend)
        losses = branch(maps(), samples(branch.tasks), iteration=3)
        losses['triplane.loss_semseg'].backward()
        found.append((losses, [p.grad for p in branch.parameters()]))
    for key, value in found[0][0].items():
        torch.testing.assert_close(value, found[1][0][key], rtol=1e-4, atol=1e-5)
    for a, b in zip(found[0][1], found[1][1]):
        a, b = (torch.zeros(()) if g is None else g for g in (a, b))
        torch.testing.assert_close(*torch.broadcast_tensors(a, b), rtol=1e-3, atol=1e-5)


def test_a_patch_is_compared_with_its_part_of_the_ground_truth():
    branch = make(ray_patch=0.25, jitter='none', dropout=0.0, tasks=('depth',)).train()
    found = branch.predict(maps(), SIZE, torch.Generator().manual_seed(3))
    top, left, height, width = found.box
    assert (height, width) == (8, 12)
    assert top % 4 == left % 4 == 0
    whole = copy.deepcopy(branch)
    whole.ray_patch = 1.0
    expected = whole.predict(maps(), SIZE, None).logits['depth']
    window = expected[..., top // 4 : top // 4 + 2, left // 4 : left // 4 + 3]
    torch.testing.assert_close(found.logits['depth'], window)
    branch.renderer.backend = 'naive'
    defined = branch.predict(maps(), SIZE, torch.Generator().manual_seed(3))
    assert defined.box == found.box
    torch.testing.assert_close(defined.logits['depth'], window, rtol=1e-4, atol=1e-5)
    with pytest.raises(ShapeError, match='no multiple of render_stride=4'):
        branch.predict(maps(), (15, 24), None)


def test_depth_from_the_ray_itself():
    branch = make(depth_from='expected_z', tasks=('depth',), dropout=0.0).eval()
    branch.depth_scale.data.fill_(3.0)
    branch.depth_shift.data.fill_(-1.0)
    found = branch.explain(maps(), SIZE)
    expected = 3 * found.details['depth'].depth - 1
    torch.testing.assert_close(found.logits['depth'].flatten(1), expected)


def test_draws_depend_on_seed_iteration_and_name_alone():
    branch = make()
    truth = samples(branch.tasks)

    def loss(iteration, before=0):
        torch.rand(before)
        return float(branch(maps(), truth, iteration)['triplane.raw_depth'])

    state = torch.get_rng_state()
    first = loss(2)
    assert torch.equal(torch.get_rng_state(), state)
    assert loss(2, 7) == first
    assert loss(3) != first
    branch.name = 'other'
    assert float(branch(maps(), truth, 2)['other.raw_depth']) != first


def test_bf16_features_are_rendered_in_float32():
    branch = make()
    seen = []
    branch.renderer.register_forward_hook(lambda m, args, out: seen.append(out))
    with torch.autocast('cpu', torch.bfloat16):
        losses = branch(maps(), samples(branch.tasks), 4)
    assert all(v.dtype == torch.float32 for v in (*seen[0].maps.values(), *losses.values()))
    half = [m.detach().bfloat16().requires_grad_() for m in maps()]
    with torch.autocast('cpu', torch.bfloat16):
        branch(half, samples(branch.tasks), 4)['triplane.loss_depth'].backward()
    assert half[0].grad.dtype == torch.bfloat16


def test_a_second_regularizer_is_short():
    class Mean(FeatureRegularizer):
        """The mean feature says everything."""

        def __init__(self, tasks, **kwargs):
            super().__init__(tasks, **kwargs)
            self.ready()

        def build(self, in_channels):
            self.heads = nn.ModuleDict({
                key: nn.Conv2d(in_channels[0], task.num_channels, 1)
                for key, task in self.tasks.items()
            })  # fmt: skip

        def predict(self, maps, image_size, generator):
            mean = maps[0].mean((2, 3), keepdim=True)
            return AuxiliaryMaps({key: head(mean) for key, head in self.heads.items()})

    branch = Mean(build_tasks(TASKS), in_channels=(3, 5), alpha_max=1.0, ramp_iters=1, name='mean')
    losses = branch(maps(), samples(branch.tasks), 1)
    assert {'mean.loss_semseg', 'mean.loss_depth', 'mean.loss_normal'} <= set(losses)


# -- parts ------------------------------------------------------------------------------


def test_encoder_by_hand():
    torch.manual_seed(0)
    encoder = TriplaneEncoder((2, 3), 4, 6).eval()
    given = [torch.randn(1, 2, 8, 8), torch.randn(1, 3, 3, 4)]
    # One resolution for all: down by exactly two is a mean of 2 x 2, up is bilinear.
    joined = torch.cat(
        [F.avg_pool2d(given[0], 2), F.interpolate(given[1], (4, 4), mode='bilinear')], 1
    )
    x = F.relu(F.conv2d(joined, encoder.mix.weight, padding=1) / (1 + 1e-5) ** 0.5)
    x = F.relu(F.conv2d(x, encoder.lift.weight, padding=1) / (1 + 1e-5) ** 0.5)
    torch.testing.assert_close(encoder(given, (4, 4)), x.view(1, 3, 4, 4, 4))
    # Maps of one resolution meet the first convolution where they are.
    equal = [torch.randn(1, 2, 2, 2), torch.randn(1, 3, 2, 2)]
    shapes = []
    encoder.mix.register_forward_hook(lambda m, args, out: shapes.append(tuple(out.shape[-2:])))
    assert encoder(equal, (4, 4)).shape == (1, 3, 4, 4, 4)
    assert shapes == [(2, 2)]
    assert sum(p.numel() for p in TriplaneEncoder((48, 96, 192, 384)).parameters()) == 525_824


def test_encoder_drops_values_with_its_own_generator():
    encoder = TriplaneEncoder((2,), 4, 4, plane_act='none', dropout=0.5)
    x = [torch.randn(4, 2, 8, 8)]
    one, two = (encoder(x, (8, 8), torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, two)
    assert 0.4 < (one == 0).float().mean() < 0.6
    full = copy.deepcopy(encoder)
    full.dropout = 0.0
    kept = one != 0
    torch.testing.assert_close(one[kept], 2 * full(x, (8, 8))[kept])


def test_field_starts_thin_and_counts_as_published():
    field = TriplaneField(dict(semseg=40, depth=1, normal=3, boundary=1))
    assert sum(p.numel() for p in field.parameters()) == 19_825
    planes = torch.rand(1, 3, 64, 7, 9)
    found = TriplaneRenderer(coarse=16, fine=16).eval()(planes, field, (7, 9))
    for facts in found.details.values():
        assert 0 < facts.opacity.mean() < 0.6
    for mlp in field.mlps.values():
        assert not mlp.hidden.bias.any()


def test_depths_are_drawn_one_per_bin():
    renderer = TriplaneRenderer(coarse=8, fine=0, z_range=(-0.5, 1.0))
    planes = torch.zeros(3, 3, 2, 4, 4)
    edges = torch.linspace(-0.5, 1.0, 9)
    z = renderer.train()._depths(planes, 16, torch.Generator().manual_seed(0))
    assert z.shape == (3, 8)
    assert ((z >= edges[:-1]) & (z <= edges[1:])).all()
    assert not torch.equal(z[0], z[1])
    middles = (edges[1:] + edges[:-1]) / 2
    torch.testing.assert_close(renderer.eval()._depths(planes, 16, None), middles)


def test_tokens_become_maps():
    tokens = torch.arange(2 * 7 * 3).view(2, 7, 3)
    found = TokensToMap((2, 3), num_prefix_tokens=1)(tokens)
    assert torch.equal(found[1, :, 1, 2], tokens[1, 6])
    with pytest.raises(ShapeError, match=r'wants \(B, 6, C\)'):
        TokensToMap((2, 3))(tokens)


@pytest.mark.parametrize('kind', [TriplaneRegularizer, AuxHeadRegularizer])
def test_parts_on_the_meta_device_and_copies(kind):
    with torch.device('meta'):
        branch = make(kind)
    assert all(p.is_meta for p in branch.parameters())
    branch.to_empty(device='cpu').init_weights()
    assert branch(maps(), samples(branch.tasks), 1)[f'{branch.name}.raw_depth'].isfinite()
    twin = make(kind)
    twin.load_state_dict(branch.state_dict())
    copy.deepcopy(twin)


# -- attached ------------------------------------------------------------------------------


@MODELS.register_module(force=True)
class Host(BaseModel):
    """Backbone, tokens and dict outputs to tap."""

    def __init__(self, calls=1):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3, 4, 1), nn.BatchNorm2d(4), nn.ReLU())
        self.tokens = TokenMaker()
        self.decode_head = DictHead()
        self.auxiliary_head = nn.Conv2d(4, 2, 1)
        self.calls = calls

    def forward(self, inputs, data_samples=None, mode='tensor'):
        for _ in range(self.calls):
            x = self.backbone(inputs)
        self.tokens(x)
        out = self.decode_head(x)['logits']
        return dict(loss=out.square().mean()) if mode == 'loss' else out


class TokenMaker(nn.Module):
    def forward(self, x):
        tokens = x.flatten(2).mT
        return torch.cat([tokens.mean(1, keepdim=True), tokens], 1)


class DictHead(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 2, 1)

    def forward(self, x):
        return dict(logits=self.conv(x), feature=x)


def attach(host=None, tasks=None, **changes):
    host = (host or Host()).train()
    cfg = dict(SMALL, type='TriplaneRegularizer', tasks=TASKS, **changes)
    branch = add_regularizers(host, dict(triplane=cfg), tasks)['triplane']
    return host, branch


def step(host, tasks=('semseg', 'depth', 'normal'), kind=DenseDataSample):
    built = build_tasks({key: TASKS[key] for key in tasks})
    return host(torch.randn(2, 3, *SIZE), samples(built, kind=kind), mode='loss')


def test_channels_are_probed_without_a_trace():
    host = Host().train()
    before = copy.deepcopy(host.state_dict())
    state = torch.get_rng_state()
    _, branch = attach(host)
    assert branch.in_channels == (4,)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, host.state_dict()[k]) for k, v in before.items())
    assert host.backbone.training
    assert set(step(host)) > {'loss', 'triplane.loss_normal', 'triplane.alpha'}


def test_dicts_and_tokens_are_tapped():
    host, _ = attach(feature='decode_head', in_key='feature')
    assert 'triplane.loss_depth' in step(host)
    adapter = dict(type='TokensToMap', grid=(4, 6), num_prefix_tokens=1)
    host, _ = attach(feature='tokens', adapter=adapter, in_channels=4)
    loss = step(host)['triplane.loss_depth']
    assert loss.requires_grad


def test_losses_can_count_as_the_host_s():
    tasks = build_tasks(TASKS)
    host, _ = attach(tasks=tasks, fold_into_tasks=True, loss_weights='ones')
    found = step(host)
    assert {'depth.loss_triplane', 'semseg.loss_triplane'} <= set(found)
    assert not any(name.startswith('triplane.loss') for name in found)
    with pytest.raises(ValueError, match='fold_into_tasks: Host names no losses by task'):
        attach(fold_into_tasks=True)


def test_a_copied_host_has_a_branch_of_its_own():
    host, branch = attach()
    twin = copy.deepcopy(host)
    called = []
    branch.register_forward_hook(lambda *args: called.append(1))
    assert 'triplane.loss_depth' in step(twin)
    assert not called


@pytest.mark.parametrize('reentrant', [False, True])
def test_a_checkpointed_module_can_be_tapped_itself(reentrant):
    from torch.utils.checkpoint import checkpoint

    host, _ = attach()
    inner = host.backbone.forward
    host.backbone.forward = lambda x: checkpoint(inner, x, use_reentrant=reentrant)
    x = torch.randn(2, 3, *SIZE, requires_grad=True)
    losses = host(x, samples(build_tasks(TASKS)), mode='loss')
    sum(v for k, v in losses.items() if 'loss' in k).backward()
    assert host.backbone[0].weight.grad.any()


# -- wrong use: one test per case, on the text ------------------------------------------------


def test_a_feature_that_does_not_exist():
    with pytest.raises(
        ValueError,
        match=r"regularizers\.triplane\.feature='backbon' is not a submodule of Host; close "
        r'matches: backbone; top-level parts: data_preprocessor, backbone',
    ):
        attach(feature='backbon')


def test_an_output_that_is_no_map():
    with pytest.raises(
        ShapeError,
        match=r"feature 'decode_head' returned dict\(logits, feature\).*in_key=.*"
        r'TokensToMap\(grid=\.\.\., num_prefix_tokens=1\)',
    ):
        attach(feature='decode_head')
    with pytest.raises(ShapeError, match=r"'tokens' returned tuple\[a tensor \(1, 257, 4\)\]"):
        attach(feature='tokens')


def test_other_channels_than_configured():
    host, _ = attach(in_channels=7)
    with pytest.raises(
        ShapeError, match='level 0 has 4 channels, in_channels says 7; set in_channels=None'
    ):
        step(host)
    host, _ = attach(in_channels=(4, 4))
    with pytest.raises(ShapeError, match='gives 1 levels, in_channels says 2; set in_channels=N'):
        step(host)
    host, _ = attach(in_channels=(4,), in_index=2)
    with pytest.raises(ShapeError, match=r"in_index is 2, but 'backbone' gives 1 maps"):
        step(host)


def test_other_channels_than_the_host_says_at_build_time():
    host = Host()
    host.backbone.channels = (4,)
    with pytest.raises(ShapeError, match='level 0 has 4 channels, in_channels says 7'):
        attach(host, in_channels=7)
    runs = []
    host.backbone.register_forward_hook(lambda *args: runs.append(1))
    _, branch = attach(host)
    assert branch.in_channels == (4,)
    assert not runs


def test_a_module_that_runs_several_times():
    host, _ = attach(Host(calls=2))
    with pytest.raises(RuntimeError, match="'backbone' ran 2 times in one step; set calls='first'"):
        step(host)
    for calls in ('first', 'last'):
        host, _ = attach(Host(calls=2), calls=calls)
        assert 'triplane.loss_depth' in step(host)


def test_a_module_that_never_runs():
    host, _ = attach(feature='auxiliary_head', in_channels=2)
    with pytest.raises(RuntimeError, match="'auxiliary_head' did not run in the training forward"):
        step(host)


def test_a_frozen_backbone_is_told_once(monkeypatch):
    told = []
    monkeypatch.setattr(FeatureRegularizer, 'tell', lambda self, text, level=20: told.append(text))
    host, _ = attach()
    host.backbone.requires_grad_(False)
    step(host)
    step(host)
    assert told == ["'backbone' is frozen: the regularizer trains only itself."]


def test_a_child_inside_a_reentrant_checkpoint():
    from torch.utils.checkpoint import checkpoint

    host, _ = attach(feature='backbone.0', in_channels=4)
    inner = host.backbone.forward
    host.backbone.forward = lambda x: checkpoint(inner, x, use_reentrant=True)
    with pytest.raises(RuntimeError, match=r'inside a re-entrant activation checkpoint\. Tap the'):
        step(host)


def test_a_task_without_ground_truth_key():
    host, _ = attach()
    with pytest.raises(
        KeyError, match=r"task 'normal' needs 'gt_normal'; the batch has: gt_depth_map, gt_sem_seg"
    ):
        step(host, tasks=('semseg', 'depth'), kind=BaseDataElement)
    host, _ = attach(targets=dict(normal='gt_depth_map', semseg='x'))
    with pytest.raises(KeyError, match="task 'semseg' needs 'x'"):
        step(host, tasks=('depth',), kind=BaseDataElement)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(alpha_max=-1.0), r'alpha_max=-1\.0; give a number >= 0'),
        (dict(ramp_iters=0), 'ramp_iters=0; give a positive number'),
        (dict(ramp_iters=5, ramp_fraction=0.5), 'are both given'),
        (dict(ramp_iters=None, ramp_fraction=1.5), r'ramp_fraction=1\.5'),
        (dict(coarse=1), 'coarse is 1; an interval needs at least 2'),
        (dict(fine=-1), 'fine is -1'),
        (dict(dropout=1.0), r'dropout=1\.0; give a share in \[0, 1\)'),
        (dict(z_range=(0.5, 0.5)), r'z_range is \(0\.5, 0\.5\); need -1 <= near < far <= 1'),
        (dict(ray_patch=0.0), r'ray_patch=0\.0'),
        (dict(render_stride=0), 'render_stride=0'),
        (dict(rule='left'), "rule is 'left'; choose"),
        (dict(density='one'), "density is 'one'"),
        (dict(plane_act='gelu'), "plane_act is 'gelu'"),
        (dict(calls='second'), "calls='second'"),
        (dict(in_index='first'), "in_index='first'"),
        (dict(loss_weights='equal'), "loss_weights='equal'"),
        (dict(loss_weights=dict(dept=1)), "Did you mean 'depth'"),
        (dict(plane_layout='xy_yx'), "'yx'"),
    ],
    ids=str,
)
def test_odd_numbers(changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes)


def test_a_ramp_longer_than_the_run(monkeypatch):
    clock = RunClock(iteration=1, max_iters=3, seed=0)
    monkeypatch.setattr(RunClock, 'now', classmethod(lambda cls: clock))
    branch = make(ramp_iters=30)
    with pytest.warns(UserWarning, match=r'ramp_iters=30 is longer than the run \(3 iterations\)'):
        branch(maps(), samples(branch.tasks))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        branch(maps(), samples(branch.tasks))
    half = make(ramp_iters=None, ramp_fraction=0.5)
    assert half.ramp.at(0, RunClock()) == 0
    with pytest.raises(ValueError, match='the length of the run is unknown'):
        half.ramp.at(1, RunClock())
    assert half(maps(), samples(half.tasks))['triplane.alpha'] == 4.0 * 1 / 2


def test_a_second_pass_over_a_frozen_density():
    branch = make()
    for mlp in branch.field.mlps.values():
        mlp.density.requires_grad_(False)
    with pytest.raises(ValueError, match=r'fine=4 with a frozen density.*Set fine=0'):
        branch(maps(), samples(branch.tasks), 1)


@pytest.mark.parametrize(
    ('spoil', 'first'),
    [
        (lambda b: b.encoder.lift_norm.weight, 'planes'),
        (lambda b: b.field.mlps['depth'].density.weight, 'density'),
        (lambda b: b.field.mlps['depth'].value.weight, 'output'),
    ],
)
def test_numbers_that_are_none(spoil, first):
    branch = make(tasks=('depth',))
    with torch.no_grad():
        spoil(branch).flatten()[0] = float('nan')
    with pytest.raises(
        FloatingPointError,
        match=rf"task 'depth' is not finite at iteration 3; first not finite: {first}\. Pictures: "
        r'p0\.png, p1\.png',
    ):
        branch(maps(), samples(branch.tasks), 3)


def test_tasks_by_name_need_a_host_that_has_them():
    with pytest.raises(ValueError, match="tasks='all': the model has no `tasks`"):
        add_regularizers(Host(), dict(triplane=dict(type='TriplaneRegularizer')))
    with pytest.raises(ValueError, match="Did you mean 'depth'"):
        add_regularizers(
            Host(),
            dict(triplane=dict(type='TriplaneRegularizer', tasks=['dept'])),
            build_tasks(TASKS),
        )
