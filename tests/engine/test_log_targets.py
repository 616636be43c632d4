from pathlib import Path

import pytest
from mmengine.config import Config

from mmdense.engine import log_targets
from mmdense.engine.launch import train
from mmdense.engine.log_targets import LogTarget, log_to
from mmdense.utils import MissingDependencyError
from mmdense.utils.config_check import ConfigError

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / 'configs/polymax/polymax_convnext-atto_1xb8-quickstart_rooms-96x128.py'
#: Both targets, by a module that is always there.
HERE = {
    'tensorboard': LogTarget('TensorboardVisBackend', 'json', ''),
    'wandb': LogTarget('WandbVisBackend', 'json', ''),
}


def test_targets_are_added_to_what_the_config_logs_to(monkeypatch):
    monkeypatch.setattr(log_targets, 'LOG_TARGETS', HERE)
    visualizer = dict(type='X', tasks=dict(a=1), vis_backends=[dict(type='LocalVisBackend')])
    cfg = Config(dict(work_dir='work_dirs/mine', visualizer=visualizer))
    log_to(cfg, ['tensorboard', 'wandb'])
    assert cfg.visualizer.tasks == dict(a=1)
    local, tensorboard, wandb = cfg.visualizer.vis_backends
    assert (local.type, tensorboard.type) == ('LocalVisBackend', 'TensorboardVisBackend')
    assert wandb.init_kwargs == dict(project='mmdense', name='mine')
    # Once is enough, and the config's own arguments stay.
    wandb.init_kwargs.mode = 'offline'
    log_to(cfg, ['wandb'])
    assert len(cfg.visualizer.vis_backends) == 3
    assert cfg.visualizer.vis_backends[2].init_kwargs.mode == 'offline'


def test_files_are_written_all_the_same_where_the_config_says_nothing(monkeypatch):
    monkeypatch.setattr(log_targets, 'LOG_TARGETS', HERE)
    cfg = Config(dict(work_dir='w'))
    log_to(cfg, [])
    assert cfg.get('visualizer') is None
    log_to(cfg, ['tensorboard'])
    types = [backend.type for backend in cfg.visualizer.vis_backends]
    assert types == ['LocalVisBackend', 'TensorboardVisBackend']


def test_what_is_missing_or_unknown_is_said_before_the_run(monkeypatch):
    absent = {'wandb': LogTarget('WandbVisBackend', 'no_such_module', 'pip install wandb')}
    monkeypatch.setattr(log_targets, 'LOG_TARGETS', absent)
    with pytest.raises(MissingDependencyError, match=r'--log-to wandb.*pip install wandb'):
        log_to(Config(dict(work_dir='w')), ['wandb'])
    with pytest.raises(ConfigError, match="Did you mean 'wandb'"):
        log_to(Config(dict(work_dir='w')), ['wanbd'])


@pytest.mark.slow
def test_a_run_writes_tensorboard_events_with_numbers_panels_and_config(tmp_path):
    pytest.importorskip('tensorboard')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    loader = dict(num_workers=0, persistent_workers=False)
    options = {
        'train_cfg.max_iters': 2,
        'train_cfg.val_interval': 2,
        'default_hooks.logger.interval': 1,
        'default_hooks.visualization.num_pictures': 1,
    }
    for split, length in (('train', 4), ('val', 2)):
        data = dict(size=(64, 96), length=length, cache_dir=str(tmp_path / 'rooms'))
        options |= {f'{split}_dataloader.dataset.{key}': value for key, value in data.items()}
        options |= {f'{split}_dataloader.{key}': value for key, value in loader.items()}
        options[f'{split}_dataloader.batch_size'] = 2
    train(str(QUICKSTART), work_dir=str(tmp_path / 'w'), cfg_options=options,
          log_targets=['tensorboard'])  # fmt: skip
    (events,) = (tmp_path / 'w').glob('*/vis_data/events.out.tfevents.*')
    found = EventAccumulator(str(events.parent))
    found.Reload()
    tags = found.Tags()
    assert [scalar.step for scalar in found.Scalars('depth.loss')] == [1, 2]
    assert [scalar.step for scalar in found.Scalars('depth/rmse')] == [2]
    assert {'val/panel', 'val/semseg_clusters'} <= set(tags['images'])
    assert tags['tensors'] == ['config/text_summary']
    # The files of the run are there as ever.
    assert (events.parent / 'scalars.json').is_file()
    assert (tmp_path / 'w' / 'panels' / 'val_iter_2.png').is_file()
