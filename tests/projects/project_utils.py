"""Foreign models of the projects, trained on random pictures."""

from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner
from torch.utils.data import DataLoader

ROOT = Path(__file__).parents[2]


def batch_norm(cfg):
    """Every synchronised batch norm of a config as a plain one, which a CPU has."""
    if isinstance(cfg, dict):
        for key, value in cfg.items():
            if key == 'norm_cfg' and value.get('type') == 'SyncBN':
                cfg[key] = dict(type='BN', requires_grad=True)
            else:
                batch_norm(value)
    elif isinstance(cfg, (list, tuple)):
        for value in cfg:
            batch_norm(value)


def readme_holds(project, config):
    """Whether the config holds the code that the page shows."""
    text = (ROOT / 'projects' / project / 'README.md').read_text()
    shown = text.split('```python\n')[1].split('```')[0]
    source = (ROOT / 'projects' / project / 'configs' / config).read_text()
    return all(part.strip() in source for part in shown.split('\n\n'))


def train(path, registry, work_dir, samples, make_small, **changes):
    """Train a config on given samples; the runner at the end.

    The model comes from the registry of its code base; hooks from mmengine, so that data sets
    and whatever they import are not needed.
    """
    cfg = Config.fromfile(path)
    batch_norm(cfg._cfg_dict)
    make_small(cfg.model)
    torch.manual_seed(0)
    options = dict(
        train_cfg=dict(by_epoch=True, max_epochs=3),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1e-3, weight_decay=1e-2)),
        default_hooks=dict(logger=dict(type='LoggerHook', interval=100)),
    )
    runner = Runner(
        # Whatever scope an earlier run in this process has left.
        model=registry.build(dict(cfg.model, _scope_=registry.scope)),
        custom_hooks=cfg.get('custom_hooks'),
        work_dir=str(work_dir),
        experiment_name=f'{Path(work_dir).name}_{len(changes)}',
        train_dataloader=DataLoader(samples, batch_size=2, collate_fn=pseudo_collate),
        log_level='ERROR',
        **options | changes,
    )
    runner.train()
    return runner
