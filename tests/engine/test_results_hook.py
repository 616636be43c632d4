import json

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.runner import Runner

from mmdense.engine.run_facts import describe_backbone, describe_data, describe_run, digest
from mmdense.evaluation import MultiTaskEvaluator, SettingMismatch

PICTURES = 3
TASKS = dict(depth=dict(type='Depth'))


class OneNumber(BaseModel):
    """Predicts one learned depth."""

    def __init__(self):
        super().__init__()
        self.depth = torch.nn.Parameter(torch.tensor(1.0))

    def forward(self, inputs, data_samples=None, mode='tensor'):
        if mode == 'loss':
            return dict(loss=(self.depth - 2) ** 2)
        maps = np.full((1, 2, 2), float(self.depth), np.float32)
        return [
            dict(pred_depth_map=dict(data=maps), gt_depth_map=dict(data=np.full_like(maps, 2.0)))
            for _ in inputs
        ]


class Pictures(torch.utils.data.Dataset):
    def __len__(self):
        return PICTURES

    def __getitem__(self, index):
        return dict(inputs=torch.zeros(3, 2, 2))


REFERENCE = dict(
    name='single task',
    source='made up',
    backbone=dict(name='r18-thin'),
    data=dict(dataset='Pictures', split='val', pictures=PICTURES),
    metrics={
        'depth/rmse': dict(
            value=1.0,
            higher_is_better=False,
            protocol=MultiTaskEvaluator(TASKS).metrics[0].protocol,
        )
    },
)


def runner(tmp_path, reference=REFERENCE, seed=5):
    loader = dict(
        batch_size=2, num_workers=0, dataset=dict(type='Pictures', ann_file='lists/val.txt'),
        sampler=dict(type='DefaultSampler', shuffle=False),
    )  # fmt: skip
    cfg = Config(
        dict(
            default_scope='mmdense', work_dir=str(tmp_path / 'run'), randomness=dict(seed=seed),
            experiment_name=f'{tmp_path.name}_{seed}',
            model=dict(type='OneNumber', backbone=dict(type='ResNet', depth=18)),
            train_dataloader=loader, val_dataloader=loader,
            train_cfg=dict(type='IterBasedTrainLoop', max_iters=2, val_interval=2),
            val_cfg=dict(type='ValLoop'),
            val_evaluator=dict(
                type='MultiTaskEvaluator', tasks=TASKS, metrics=None,
                delta_m=dict(reference=reference),
            ),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.25)),
            default_hooks=dict(
                logger=None, checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2)
            ),
            custom_hooks=[dict(type='ResultsHook')], log_level='ERROR',
        )
    )  # fmt: skip
    file = tmp_path / 'toy_r18-thin_1xb2-2_pictures-2x2.py'
    cfg.dump(str(file))
    cfg = Config.fromfile(str(file))
    parts = dict(model=OneNumber())
    loaders = {
        key: torch.utils.data.DataLoader(Pictures(), batch_size=2)
        for key in ('train_dataloader', 'val_dataloader')
    }
    built = {k: v for k, v in cfg.items() if k not in ('model', *loaders)}
    return Runner(cfg=cfg, **{**built, **parts, **loaders})


def test_results_say_what_was_run_and_gained(tmp_path):
    runner(tmp_path).train()
    found = json.loads((tmp_path / 'run' / 'results_val.json').read_text())
    run = found['run']
    assert run['config'] == 'toy_r18-thin_1xb2-2_pictures-2x2'
    assert run['backbone'] == dict(
        name='r18-thin', description='ResNet(depth=18)', weights='random'
    )
    assert run['schedule'] == dict(iterations=2, batch_size=2, done=2)
    assert run['data'] == dict(dataset='Pictures', root=None, split='val')
    assert (run['seed'], run['parameters']) == (5, 1)
    assert run['versions']['torch'] == torch.__version__
    assert 0 <= run['wall_s'] < 100
    # Two steps of 0.25 * 2 * (d - 2) from 1: an error of 0.25 against the reference's 1.
    assert found['metrics']['depth/rmse'] == pytest.approx(0.25)
    assert found['delta_m']['delta_m'] == found['metrics']['delta_m'] == pytest.approx(75)
    assert (found['iteration'], found['pictures']) == (2, PICTURES)
    assert 'pictures' not in found['delta_m']['unchecked']


def test_tested_weights_keep_the_seed_they_were_trained_with(tmp_path):
    runner(tmp_path).train()
    # The process that tests has another seed, and another name for its message hub.
    tester = runner(tmp_path, seed=9)
    assert describe_run(tester, 'test')['seed'] is None
    tester._load_from = str(tmp_path / 'run' / 'iter_2.pth')
    tester.load_or_resume()
    found = describe_run(tester, 'test')
    assert (found['seed'], found['schedule']['done']) == (5, 2)
    assert describe_run(tester, 'val')['seed'] == 9


def test_reference_of_another_backbone_stops_the_run_before_it_begins(tmp_path):
    wrong = dict(REFERENCE, backbone='swin-t')
    run = runner(tmp_path, wrong)
    with pytest.raises(SettingMismatch, match=r'r18-thin.*swin-t'):
        run.train()
    assert run.iter == 0


def test_experiment_is_the_same_for_other_seeds_and_folders_only():
    base = dict(
        model=dict(type='A', init_cfg=dict(type='Pretrained', checkpoint='/x/a.pth')),
        train_dataloader=dict(batch_size=2, num_workers=2, dataset=dict(data_root='/x')),
        randomness=dict(seed=0),
    )
    moved = dict(
        model=dict(type='A', init_cfg=dict(type='Pretrained', checkpoint='/y/a.pth')),
        train_dataloader=dict(batch_size=2, num_workers=0, dataset=dict(data_root='/y')),
        randomness=dict(seed=1),
    )
    assert digest(Config(base)) == digest(Config(moved))
    for change in (
        dict(model=dict(type='B')),
        dict(train_dataloader=dict(batch_size=3)),
        dict(optim_wrapper=dict(optimizer=dict(type='SGD'))),
    ):
        assert digest(Config({**base, **change})) != digest(Config(base))


def test_backbone_and_data_of_configs():
    pretrained = dict(type='mmdense.ResNet', depth=50, init_cfg=dict(checkpoint='a/b/r50.pth'))
    found = describe_backbone(Config(dict(model=dict(backbone=pretrained))))
    assert found == dict(name=None, description='ResNet(depth=50)', weights='r50.pth')
    assert describe_backbone(Config(dict(model=dict(type='X')))) == dict(
        name=None, description=None, weights=None
    )
    assert describe_data(dict(type='NYUDv2Dataset', ann_file='gt_sets/val.txt', data_root='d')) == (
        dict(dataset='NYUDv2Dataset', root='d', split='val')
    )
