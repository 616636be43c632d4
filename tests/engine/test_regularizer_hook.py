import copy
import hashlib
import io
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.hooks import EMAHook, Hook
from mmengine.optim import OptimWrapper
from mmengine.optim.scheduler import PolyLR
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from regularizer_hosts import (
    SIZE,
    TinyHost,
    TinyPictures,
    hook,
    make_config,
    make_runner,
    predictor,
)
from torch import nn
from torch.utils.data import DataLoader

from mmdense.apis.publish import publish
from mmdense.engine.hooks import LoadReportHook, RegularizerHook
from mmdense.models.regularizers.train_only import META_KEY
from mmdense.registry import MODELS
from mmdense.structures import DenseDataSample

NAME = 'train_only_triplane'


@pytest.fixture(autouse=True)
def quiet_scope(monkeypatch):
    """Runners leave a default scope behind."""
    yield
    DefaultScope._instance_dict.clear()


class GradientRecorder(Hook):
    """Keeps the gradients of every step, before they are used."""

    def __init__(self):
        self.steps = []

    def before_train(self, runner):
        step = runner.optim_wrapper.step
        model = runner.model

        def recorded(*args, **kwargs):
            named = getattr(model, 'module', model).named_parameters()
            self.steps.append({n: None if p.grad is None else p.grad.clone() for n, p in named})
            return step(*args, **kwargs)

        runner.optim_wrapper.step = recorded


def scalars(runner, name):
    return runner.message_hub.get_scalar(f'train/{name}')._log_history.tolist()


def host_state(model):
    return {k: v for k, v in model.state_dict().items() if not k.startswith(NAME)}


def test_a_bare_model_is_regularized_and_every_parameter_learns(tmp_path):
    runner = make_runner(tmp_path, hooks=[hook()])
    recorder = GradientRecorder()
    runner.register_hook(recorder)
    model = runner.train()
    assert list(dict(model.named_children()))[-1] == NAME
    assert scalars(runner, 'triplane.alpha') == [0, 1, 2]  # ramp_iters=4, alpha_max=4
    raw, weighted = (scalars(runner, f'triplane.{kind}_depth') for kind in ('raw', 'loss'))
    assert weighted == pytest.approx([a * r for a, r in zip((0, 1, 2), raw)], rel=1e-5)
    total = scalars(runner, 'loss')[1]
    parts = [scalars(runner, n)[1] for n in ('loss_ce', 'triplane.loss_semseg')]
    assert total == pytest.approx(sum(parts) + weighted[1], rel=1e-5)
    held = {p for group in runner.optim_wrapper.param_groups for p in group['params']}
    assert held == set(model.parameters())
    own = [n for n in recorder.steps[1] if n.startswith(NAME)]
    assert len(own) > 10
    assert all(recorder.steps[1][n].abs().max() > 0 for n in recorder.steps[1])
    # The features are let go of after each step.
    taps = [h.__self__ for h in model.backbone._forward_hooks.values()]
    assert [tap._output for tap in taps] == [None]


def test_other_modes_do_not_see_it(tmp_path):
    runner = make_runner(tmp_path, hooks=[hook()], iters=1)
    model = runner.train().eval()
    x = torch.randn(2, 3, *SIZE)
    plain = TinyHost()
    plain.load_state_dict(host_state(model))
    plain.eval()
    called = []
    model.get_submodule(NAME).register_forward_hook(lambda *args: called.append(1))
    for mode in ('tensor', 'predict'):
        for a, b in zip(model(x, mode=mode), plain(x, mode=mode)):
            assert torch.equal(a, b)
    with torch.no_grad():
        model.train()(x, mode='tensor')
    assert not called
    traced, expected = (
        torch.jit.trace(m.eval(), x, check_trace=False).inlined_graph for m in (model, plain)
    )
    kinds = [[node.kind() for node in graph.nodes()] for graph in (traced, expected)]
    assert kinds[0] == kinds[1]


def test_the_host_is_bit_identical_with_weight_zero(tmp_path):
    host, branch = (
        make_runner(tmp_path / name, hooks=hooks, iters=20, default_hooks={}).train()
        for name, hooks in (('plain', []), ('with', [hook(alpha_max=0.0)]))
    )
    assert hasattr(branch, NAME)
    state = host_state(branch)
    assert host.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in host.state_dict().items())


def test_a_run_that_is_resumed_in_the_ramp_equals_an_unbroken_one(tmp_path):
    whole = make_runner(tmp_path / 'whole', iters=4, hooks=[hook()])
    whole.train()
    first = make_runner(tmp_path / 'parts', iters=2, hooks=[hook()])
    first.train()
    config = make_config(tmp_path / 'parts', iters=4, hooks=[hook()])
    config.update(resume=True, experiment_name='second')
    second = Runner.from_cfg(config)
    second.train()
    a, b = (r.model.state_dict() for r in (whole, second))
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert scalars(second, 'triplane.alpha')[-2:] == [2, 3]
    assert scalars(whole, 'loss')[-2:] == scalars(second, 'loss')[-2:]


def test_parameter_groups_and_schedules_are_those_of_the_config(tmp_path):
    wrapper = dict(
        optimizer=dict(type='SGD', lr=0.1),
        paramwise_cfg=dict(custom_keys={NAME: dict(lr_mult=5.0)}),
    )
    runner = make_runner(
        tmp_path, hooks=[hook()], iters=2, optim_wrapper=wrapper,
        auto_scale_lr=dict(enable=True, base_batch_size=1),
    )  # fmt: skip
    runner.train()
    groups = runner.optim_wrapper.optimizer.param_groups
    initial = {round(group['initial_lr'], 9) for group in groups}
    assert initial == {0.2, 1.0}  # the batch is twice the base
    own = set(runner.model.get_submodule(NAME).parameters())
    assert {p for g in groups if g['initial_lr'] > 0.5 for p in g['params']} == own
    assert all(group['lr'] < group['initial_lr'] for group in groups)


def test_a_runner_made_of_objects_gets_a_parameter_group(tmp_path):
    model = TinyHost()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    wrapper = OptimWrapper(optimizer)
    config = make_config(tmp_path)
    loader = dict(config.train_dataloader)
    runner = Runner(
        model, str(tmp_path), train_dataloader=loader, train_cfg=config.train_cfg,
        optim_wrapper=wrapper, param_scheduler=[PolyLR(wrapper, by_epoch=False, end=10)],
        custom_hooks=[RegularizerHook(**{k: v for k, v in hook().items() if k != 'type'})],
        experiment_name='objects', log_level='ERROR',
    )  # fmt: skip
    runner.train()
    own = set(model.get_submodule(NAME).parameters())
    assert set(optimizer.param_groups[-1]['params']) == own
    first, last = optimizer.param_groups[0], optimizer.param_groups[-1]
    assert first['lr'] == last['lr'] < 0.1
    assert last['momentum'] == 0.9
    assert all(optimizer.state[p] for p in own)


def test_an_optimizer_that_takes_no_parameters_is_refused(tmp_path):
    class Fixed(OptimWrapper):
        @property
        def optimizer(self):
            return None

        @optimizer.setter
        def optimizer(self, value):
            self._kept = value

    runner = make_runner(tmp_path, hooks=[])
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.cfg.pop('optim_wrapper')
    runner.optim_wrapper = Fixed.__new__(Fixed)
    branch = RegularizerHook(regularizer=hook()['regularizer'])
    with pytest.raises(RuntimeError, match=r'Fixed was given.*model=dict\(regularizers='):
        branch.before_run(runner)


def test_wrappers_that_shard_are_refused(tmp_path):
    from mmengine.registry import MODEL_WRAPPERS

    @MODEL_WRAPPERS.register_module(force=True)
    class Shards(nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

    runner = make_runner(tmp_path)
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.model = Shards(runner.model)
    with pytest.raises(RuntimeError, match=r'wrapped in Shards.*model=dict\(regularizers='):
        RegularizerHook(regularizer=hook()['regularizer']).before_run(runner)


def test_batch_norms_are_synchronised_as_the_host_s():
    from mmengine.config import Config

    from mmdense.engine.hooks.regularizer_hook import _match_norms

    def kinds(distributed, host, **cfg):
        child = nn.Sequential(nn.BatchNorm2d(2), nn.ReLU())
        runner = type('R', (), dict(distributed=distributed, cfg=Config(cfg)))()
        _match_norms(runner, nn.Sequential(host), child)
        return type(child[0])

    plain, synced = nn.BatchNorm2d(2), nn.SyncBatchNorm(2)
    assert kinds(True, plain) is nn.BatchNorm2d
    assert kinds(True, synced) is nn.SyncBatchNorm
    assert kinds(True, plain, sync_bn='torch') is nn.SyncBatchNorm
    # One process has nobody to agree with.
    assert kinds(False, plain, sync_bn='torch') is not nn.SyncBatchNorm


@pytest.mark.slow
def test_a_compiled_host_is_not_compiled_again_as_alpha_grows():
    from torch._dynamo.utils import counters

    from mmdense.models.regularizers.run_clock import RunClock

    model = MODELS.build(predictor()).train()
    items = [TinyPictures(kind=DenseDataSample)[i] for i in range(2)]
    inputs = torch.stack([item['inputs'] for item in items])
    samples = [item['data_samples'] for item in items]
    torch._dynamo.reset()
    compiled = torch.compile(model, backend='eager')
    graphs, alphas = [], []
    for step in range(5):
        model.get_submodule(NAME).clock = RunClock(step, 10, 0)
        losses = compiled(inputs, samples, mode='loss')
        alphas.append(float(losses['triplane.alpha']))
        graphs.append(counters['stats']['unique_graphs'])
    assert alphas == [0, 1, 2, 3, 4]
    assert graphs[0] > 0 and graphs[-1] == graphs[1]
    torch._dynamo.reset()


def test_averaged_weights_cover_it(tmp_path):
    runner = make_runner(tmp_path, hooks=[hook(), dict(type='EMAHook')], iters=1)
    runner.train()
    ema = next(h for h in runner.hooks if isinstance(h, EMAHook))
    assert hasattr(ema.ema_model.module, NAME)


# -- checkpoints -------------------------------------------------------------------


@pytest.fixture
def trained(tmp_path):
    """Work directory of two iterations with EMA and published files."""
    saving = dict(
        type='CheckpointHook', by_epoch=False, interval=1, published_keys=['meta', 'state_dict']
    )
    runner = make_runner(
        tmp_path / 'run', iters=2, hooks=[hook(), dict(type='EMAHook')],
        default_hooks=dict(checkpoint=saving),
    )  # fmt: skip
    runner.train()
    return tmp_path / 'run'


def test_checkpoints_hold_it_and_published_files_do_not(trained, tmp_path):
    checkpoint = torch.load(trained / 'iter_2.pth', weights_only=False)
    assert checkpoint['meta'][META_KEY] == [f'{NAME}.']
    assert any(k.startswith(NAME) for k in checkpoint['state_dict'])
    assert any(k.startswith(f'module.{NAME}') for k in checkpoint['ema_state_dict'])
    (by_runner,) = trained.glob('iter_2-*.pth')
    by_tool = publish(str(trained / 'iter_2.pth'), str(tmp_path / 'out'))
    plain = TinyHost()
    for path in (by_runner, by_tool):
        kept = torch.load(path, weights_only=False)
        plain.load_state_dict(kept['state_dict'], strict=True)
        digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        assert path.stem.endswith(f'-{digest[:8]}')


def test_a_training_checkpoint_fits_a_plain_model(trained, tmp_path):
    runner = make_runner(
        tmp_path / 'test', hooks=[hook()], test_dataloader=make_config(tmp_path).train_dataloader,
        test_cfg=dict(), test_evaluator=dict(type='mmengine.DumpResults', out_file_path='x.pkl'),
    )  # fmt: skip
    runner.call_hook('before_run')
    assert not hasattr(runner.model, NAME)
    checkpoint = torch.load(trained / 'iter_2.pth', weights_only=False)
    runner.call_hook('after_load_checkpoint', checkpoint=checkpoint)
    runner.model.load_state_dict(checkpoint['state_dict'], strict=True)


def test_pretrained_host_weights_start_a_run(trained, tmp_path, caplog):
    (published,) = trained.glob('iter_2-*.pth')
    runner = make_runner(
        tmp_path / 'fine', hooks=[hook()], iters=1, load_from=str(published), log_level='INFO',
        default_hooks=dict(load_report=dict(type='mmdense.LoadReportHook', max_missing=0.0)),
    )  # fmt: skip
    logged = io.StringIO()
    runner.logger.addHandler(logging.StreamHandler(logged))
    runner.train()
    assert f'{NAME}: not in the checkpoint, initialised fresh' in logged.getvalue()
    assert 'missing keys' not in logged.getvalue()


def test_a_run_cannot_go_on_from_a_published_file(trained, tmp_path):
    (published,) = trained.glob('iter_2-*.pth')
    runner = make_runner(
        tmp_path / 'on', hooks=[hook()], iters=4, load_from=str(published), resume=True
    )
    with pytest.raises(
        RuntimeError, match=r'published without its training-only weights.*use load_from to start'
    ):
        runner.train()


def test_load_report_leaves_out_what_the_model_lacks(trained):
    checkpoint = torch.load(trained / 'iter_2.pth', weights_only=False)
    runner = type('R', (), dict(model=TinyHost(), logger=logging.getLogger('x')))()
    LoadReportHook().after_load_checkpoint(runner, checkpoint)
    assert not any(k.startswith(NAME) for k in checkpoint['state_dict'])


# -- precision and processes ---------------------------------------------------------


def test_bf16_autocast_changes_losses_by_two_percent_at_most(tmp_path):
    runner = make_runner(tmp_path, hooks=[hook(dropout=0.0, alpha_max=4.0)], iters=1)
    model = runner.train()
    batch = DataLoader(TinyPictures(), batch_size=4, collate_fn=lambda x: x)
    items = next(iter(batch))
    data = dict(
        inputs=torch.stack([i['inputs'] for i in items]),
        data_samples=[i['data_samples'] for i in items],
    )
    found = []
    for enabled in (False, True):
        torch.manual_seed(1)
        twin = copy.deepcopy(model).train()
        with torch.autocast('cpu', torch.bfloat16, enabled=enabled):
            losses = twin(**data, mode='loss')
        twin.parse_losses(losses)[0].backward()
        assert all(p.grad.isfinite().all() for p in twin.parameters())
        found.append({k: float(v) for k, v in losses.items() if 'raw' in k})
    for key, value in found[0].items():
        assert found[1][key] == pytest.approx(value, rel=0.02)
        assert found[1][key] != value


@pytest.mark.slow
def test_two_processes_stay_equal(tmp_path):
    worker = Path(__file__).parent / 'regularizer_worker.py'
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), os.environ.get('PYTHONPATH', '')])
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-m', 'torch.distributed.run', '--standalone',
         '--nproc-per-node', '2', str(worker), str(tmp_path)],
        env=dict(os.environ, PYTHONPATH=path, OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES=''),
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = (torch.load(tmp_path / f'rank{rank}.pth', weights_only=False) for rank in (0, 1))
    assert one['state'].keys() == two['state'].keys()
    assert any(k.startswith(NAME) for k in one['state'])
    for key, value in one['state'].items():
        # Statistics of plain batch norms are of each process; the runner does not share them.
        if 'running' not in key:
            assert torch.equal(value, two['state'][key]), key
    assert one['draws'] != two['draws']


def test_pictures_leave_the_training_as_it_was(tmp_path):
    from mmdense.engine.hooks import RegularizerPicturesHook

    plain, drawn = (
        make_runner(tmp_path / name, hooks=[hook(), *more], iters=3, default_hooks={})
        for name, more in (
            ('a', []),
            ('b', [dict(type='mmdense.RegularizerPicturesHook', interval=2)]),
        )
    )
    a, b = (runner.train().state_dict() for runner in (plain, drawn))
    assert all(torch.equal(a[key], b[key]) for key in a)
    (picture,) = (tmp_path / 'b' / 'panels').glob('*.png')
    assert picture.name == 'triplane_iter_2.png'
    with pytest.raises(ValueError, match='interval is 0'):
        RegularizerPicturesHook(interval=0)


def test_an_unmodified_mmseg_model(tmp_path):
    """EncoderDecoder of mmsegmentation with its own heads, preprocessor and samples."""
    from mmseg.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    model = dict(
        type='mmseg.EncoderDecoder',
        data_preprocessor=dict(type='mmseg.SegDataPreProcessor', size=SIZE),
        backbone=dict(type='mmseg.MobileNetV2', widen_factor=0.25, out_indices=(1, 2, 4, 6)),
        decode_head=dict(
            type='mmseg.FCNHead', in_channels=80, in_index=3, channels=4, num_classes=3,
            loss_decode=dict(type='mmseg.CrossEntropyLoss'),
        ),
    )  # fmt: skip
    runner = make_runner(tmp_path, model=model, hooks=[hook(feature='backbone')], iters=2)
    recorder = GradientRecorder()
    runner.register_hook(recorder)
    trained = runner.train()
    assert trained.get_submodule(NAME).in_channels == (8, 8, 24, 80)
    names = set(runner.message_hub.log_scalars)
    assert {'train/decode.loss_ce', 'train/triplane.loss_semseg', 'train/triplane.alpha'} <= names
    assert all(g is not None for g in recorder.steps[1].values())
    assert all(g.any() for n, g in recorder.steps[1].items() if n.startswith(NAME))


def test_a_predictor_with_regularizers_in_its_config(tmp_path):
    saving = dict(
        type='mmdense.AtomicCheckpointHook', by_epoch=False, interval=1,
        published_keys=['meta', 'state_dict'],
    )  # fmt: skip
    hooks = dict(checkpoint=saving, load_report=dict(type='mmdense.LoadReportHook'))
    loader = make_config(tmp_path).train_dataloader
    loader['dataset']['kind'] = DenseDataSample
    options = dict(
        model=predictor(), default_hooks=hooks, default_scope='mmdense', train_dataloader=loader
    )
    whole = make_runner(tmp_path / 'whole', iters=4, **options)
    model = whole.train()
    make_runner(tmp_path / 'parts', iters=2, **options).train()
    config = make_config(tmp_path / 'parts', iters=4, **options)
    config.update(resume=True, experiment_name='goes on')
    second = Runner.from_cfg(config)
    second.train()
    a, b = (r.model.state_dict() for r in (whole, second))
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert scalars(second, 'triplane.alpha')[-2:] == [2, 3]
    raw, weighted = (scalars(whole, f'triplane.{kind}_depth') for kind in ('raw', 'loss'))
    # The weight of the balancer is lambda of the task.
    assert weighted == pytest.approx([0.5 * n * r for n, r in enumerate(raw)], rel=1e-5)
    plain = copy.deepcopy(predictor())
    plain.pop('regularizers')
    host = MODELS.build(plain)
    host.load_state_dict(model.state_dict(), strict=True)
    (published,) = (tmp_path / 'whole').glob('iter_4-*.pth')
    kept = torch.load(published, weights_only=False)['state_dict']
    assert kept.keys() == host.state_dict().keys()
