import json
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

from mmdense.engine import launch
from mmdense.engine.distributed import adapt_to_cpu, init_distributed, launcher_environment
from mmdense.engine.evaluate import show_panels, write_numbers
from mmdense.engine.launch import BuildError, guard, load_config, set_resume
from mmdense.utils.config_check import ConfigError


def write(path, text):
    path.write_text(text)
    return str(path)


def test_data_root_reaches_the_data_sets_that_lie_there(tmp_path):
    text = (
        "data_root = 'data/a'\n"
        'train_dataloader = dict(dataset=dict(data_root=data_root))\n'
        'val_dataloader = dict(dataset=dict(datasets=[dict(data_root=data_root), '
        "dict(data_root='data/b')]))\n"
    )
    cfg = load_config(write(tmp_path / 'a.py', text), dict(data_root='/mnt/x'))
    assert cfg.train_dataloader.dataset.data_root == '/mnt/x'
    roots = [dataset.data_root for dataset in cfg.val_dataloader.dataset.datasets]
    assert roots == ['/mnt/x', 'data/b']


def test_missing_config_offers_a_similar_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'configs' / 'polymax').mkdir(parents=True)
    write(tmp_path / 'configs' / 'polymax' / 'polymax_a.py', '')
    with pytest.raises(ConfigError, match='no such config file') as caught:
        load_config('configs/polymx/polymax_b.py')
    assert 'Did you mean configs/polymax/polymax_a.py?' in str(caught.value)


def test_missing_base_config(tmp_path):
    with pytest.raises(ConfigError, match='inherits from is missing') as caught:
        load_config(write(tmp_path / 'a.py', "_base_ = ['nowhere.py']"))
    assert 'nowhere.py' in str(caught.value)


@pytest.mark.parametrize('text', ['a = 1\nb = c\n', 'a = 1\nb = (\n'])
def test_unreadable_config_names_the_line(tmp_path, text):
    with pytest.raises(ConfigError, match=r'cannot be read.*line 2'):
        load_config(write(tmp_path / 'a.py', text))


def test_option_that_does_not_fit(tmp_path):
    path = write(tmp_path / 'a.py', 'a = [1]')
    with pytest.raises(ConfigError, match=r'--cfg-options a\.5\.b=1 does not fit'):
        load_config(path, {'a.5.b': 1})


def test_work_dir_precedence():
    cfg = Config(dict())
    launch.set_work_dir(cfg, 'configs/x/name.py', None)
    assert cfg.work_dir == 'work_dirs/name'
    launch.set_work_dir(cfg, 'other.py', None)
    assert cfg.work_dir == 'work_dirs/name'
    launch.set_work_dir(cfg, 'other.py', 'chosen')
    assert cfg.work_dir == 'chosen'


def test_seed_keeps_other_settings():
    cfg = Config(dict(randomness=dict(seed=0, deterministic=True)))
    launch.set_seed(cfg, 5)
    assert cfg.randomness == dict(seed=5, deterministic=True)


def test_amp_turns_the_wrapper():
    cfg = Config(dict(optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD'))))
    launch.enable_amp(cfg, cuda=True)
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
    assert cfg.optim_wrapper.dtype == 'bfloat16'
    assert cfg.optim_wrapper.loss_scale == 1.0


def test_amp_without_gpu_and_with_a_foreign_wrapper():
    with pytest.raises(ConfigError, match='Leave --amp out'):
        launch.enable_amp(Config(dict()), cuda=False)
    with pytest.raises(ConfigError, match='JacobianOptimWrapper'):
        launch.enable_amp(Config(dict(optim_wrapper=dict(type='JacobianOptimWrapper'))), cuda=True)


def test_resume_auto_takes_the_latest_or_starts_fresh(tmp_path):
    cfg = Config(dict(work_dir=str(tmp_path)))
    set_resume(cfg, 'auto', None)
    assert (cfg.resume, cfg.load_from) == (True, None)
    torch.save({}, tmp_path / 'iter_1.pth')
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'iter_1.pth'))
    set_resume(cfg, 'auto', 'pretrained.pth')
    assert (cfg.resume, cfg.load_from) == (True, str(tmp_path / 'iter_1.pth'))


def test_resume_auto_with_weights_for_a_fresh_start(tmp_path):
    cfg = Config(dict(work_dir=str(tmp_path)))
    set_resume(cfg, 'auto', 'pretrained.pth')
    assert (cfg.resume, cfg.load_from) == (False, 'pretrained.pth')


def test_resume_auto_with_a_lost_checkpoint(tmp_path):
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'iter_9.pth'))
    torch.save({}, tmp_path / 'iter_8.pth')
    with pytest.raises(ConfigError, match=r'iter_9\.pth.*does not exist.*iter_8\.pth'):
        set_resume(Config(dict(work_dir=str(tmp_path))), 'auto', None)


def test_resume_and_load_from_exclude_each_other(tmp_path):
    with pytest.raises(ConfigError, match='give one'):
        set_resume(Config(dict(work_dir=str(tmp_path))), 'a.pth', 'b.pth')


def test_missing_pretrained_weights_say_how_to_go_without():
    init = dict(type='Pretrained', checkpoint='nowhere/x.pth')
    cfg = Config(dict(model=dict(backbone=dict(init_cfg=init))))
    with pytest.raises(ConfigError, match=r'--cfg-options model\.backbone\.init_cfg=None'):
        launch.require_checkpoints(cfg, training=True, source='')
    launch.require_checkpoints(cfg, training=False, source='')


def test_guard_exit_codes(monkeypatch, capsys):
    monkeypatch.delenv('MMDENSE_DEBUG', raising=False)

    def fail(error):
        raise error

    assert guard(lambda: None) == 0
    assert guard(lambda: fail(ConfigError('a is wrong'))) == 2
    assert guard(lambda: fail(BuildError('b is wrong'))) == 1
    printed = capsys.readouterr().err
    assert 'error: a is wrong' in printed
    assert '--debug' in printed
    with pytest.raises(ZeroDivisionError):
        guard(lambda: fail(ZeroDivisionError()))
    with pytest.raises(ConfigError):
        guard(lambda: fail(ConfigError('a')), debug=True)


def test_guard_keeps_other_processes_short(monkeypatch, capsys):
    monkeypatch.setenv('RANK', '3')
    monkeypatch.setattr(launch.time, 'sleep', lambda _: None)
    monkeypatch.delenv('MMDENSE_DEBUG', raising=False)

    def fail():
        raise ConfigError('first line\nsecond line')

    guard(fail)
    assert capsys.readouterr().err == 'error: [process 3] first line\n'


def test_slurm_environment():
    environ = dict(SLURM_PROCID='3', SLURM_NTASKS='8', SLURM_LOCALID='1', SLURM_NODELIST='node7')
    launcher_environment('slurm', environ)
    wanted = dict(RANK='3', WORLD_SIZE='8', LOCAL_RANK='1', MASTER_ADDR='node7')
    assert {key: environ[key] for key in wanted} == wanted


@pytest.mark.parametrize('launcher', ['pytorch', 'slurm', 'mpi', 'other'])
def test_launcher_that_did_not_launch(launcher):
    with pytest.raises(ConfigError, match=f'--launcher {launcher}'):
        launcher_environment(launcher, {})


def test_cpu_config_has_no_device_and_no_sync_bn(capsys):
    cfg = Config(
        dict(
            sync_bn='torch',
            find_unused_parameters=True,
            model=dict(backbone=dict(norm_cfg=dict(type='SyncBN', eps=1e-3))),
        )
    )
    assert adapt_to_cpu(cfg) == ['sync_bn', 'model.backbone.norm_cfg']
    assert cfg.sync_bn is None
    assert cfg.model.backbone.norm_cfg.type == 'BN'
    assert cfg.model_wrapper_cfg.device_ids is None
    assert cfg.model_wrapper_cfg.find_unused_parameters
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_no_launcher_no_group():
    cfg = Config(dict())
    init_distributed(cfg, 'none')
    assert cfg.launcher == 'none'
    assert not torch.distributed.is_initialized()


def test_show_panels_tells_the_hook_or_adds_one():
    kind = 'mmdense.DenseVisualizationHook'
    cfg = Config(dict(custom_hooks=[dict(type=kind)]))
    show_panels(cfg, 'out')
    assert cfg.custom_hooks[0].show_dir == 'out'
    cfg = Config(dict(tasks=dict(depth=dict(type='Depth'))))
    show_panels(cfg, 'out')
    assert cfg.custom_hooks == [dict(type=kind, show_dir='out')]
    assert cfg.visualizer.type == 'mmdense.DenseLocalVisualizer'
    with pytest.raises(ConfigError, match='no `tasks`'):
        show_panels(Config(dict()), 'out')


def test_numbers_are_plain_json(tmp_path):
    runner = SimpleNamespace(
        iter=7,
        seed=3,
        cfg=Config(),
        model=torch.nn.Linear(2, 1),
        test_loop=SimpleNamespace(evaluator=None),
    )
    out = tmp_path / 'sub' / 'numbers.json'
    write_numbers(runner, {'a': float('nan'), 'b': torch.tensor(0.5)}, str(out), config='c.py')
    found = json.loads(out.read_text())
    run = found.pop('run')
    assert found == dict(config='c.py', iteration=7, metrics=dict(a=None, b=0.5))
    assert run['parameters'] == 3 and run['seed'] == 3


def test_other_processes_leave_process_0_time_to_say_what_is_wrong(monkeypatch, capsys):
    waited = []
    monkeypatch.setattr(launch.time, 'sleep', waited.append)

    def fail():
        raise ConfigError('first line\nsecond line')

    for rank, text in (('0', 'second line'), ('1', '[process 1] first line')):
        monkeypatch.setenv('RANK', rank)
        assert guard(fail) == 2
        assert text in capsys.readouterr().err
        assert len(waited) == int(rank)
    assert waited[0] >= 5
