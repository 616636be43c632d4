"""Models and data for the tests of the regularizer hook; nothing in them knows of it."""

import copy

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import nn
from torch.utils.data import Dataset

from mmdense.registry import DATASETS, MODELS

SIZE = (16, 24)


@MODELS.register_module(force=True)
class TinyHost(BaseModel):
    """A bare ``BaseModel`` with a backbone of two levels, dropout and a head."""

    def __init__(self, width=4, classes=3, twice=False, unused=False, checkpointed=None):
        super().__init__(data_preprocessor=dict(type='mmengine.ImgDataPreprocessor'))
        self.backbone = TinyBackbone(width, checkpointed)
        self.head = nn.Conv2d(width, classes, 1)
        self.extra = nn.Conv2d(width, 2, 1) if unused else None
        self.twice = twice

    def forward(self, inputs, data_samples=None, mode='tensor'):
        maps = self.backbone(inputs)
        if self.twice:
            maps = self.backbone(inputs)
        logits = self.head(nn.functional.dropout(maps[0], 0.2, self.training))
        logits = nn.functional.interpolate(logits, inputs.shape[-2:], mode='bilinear')
        if mode == 'loss':
            target = torch.stack([s.gt_sem_seg.data[0] for s in data_samples]).long()
            return dict(loss_ce=nn.functional.cross_entropy(logits, target, ignore_index=255))
        return logits if mode == 'tensor' else list(logits.argmax(1))


class TinyBackbone(nn.Module):
    def __init__(self, width, checkpointed):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, 4, 1), nn.BatchNorm2d(width), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(width, 2 * width, 3, 2, 1), nn.ReLU())
        self.checkpointed = checkpointed

    def forward(self, x):
        from torch.utils.checkpoint import checkpoint

        x = self.stem(x)
        if self.checkpointed is None:
            return x, self.body(x)
        return x, checkpoint(self.body, x, use_reentrant=self.checkpointed)


@MODELS.register_module(force=True)
class TinyStem(TinyBackbone):
    """The backbone as a registered part."""

    def __init__(self):
        super().__init__(4, None)


def predictor(**changes):
    """A ``DensePredictor`` with the regularizer in its config."""
    tasks = regularizer()['tasks']
    head = dict(type='mmdense.ConvHead', in_channels=4, channels=4)
    branch = {k: v for k, v in regularizer(**changes).items() if k != 'tasks'}
    return dict(
        type='mmdense.DensePredictor', tasks=tasks, backbone=dict(type='mmdense.TinyStem'),
        heads=dict.fromkeys(tasks, head), regularizers=dict(triplane=branch),
        balancer=dict(type='FixedWeights', weights=dict(depth=0.5)),
    )  # fmt: skip


@DATASETS.register_module(force=True)
class TinyPictures(Dataset):
    """Seeded noise with labels, as mmseg's samples."""

    METAINFO: dict = {}
    metainfo: dict = {}

    def __init__(self, length=4, kind=SegDataSample):
        self.length, self.kind = length, kind

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        g = torch.Generator().manual_seed(index)
        picture = torch.randn(3, *SIZE, generator=g)
        sample = self.kind(metainfo=dict(img_path=f'picture_{index}.png', img_shape=SIZE))
        labels = torch.randint(0, 3, (1, *SIZE), generator=g)
        sample.gt_sem_seg = PixelData(data=labels)
        sample.gt_depth_map = PixelData(data=1 + torch.rand(1, *SIZE, generator=g))
        return dict(inputs=picture, data_samples=sample)


def regularizer(**changes):
    """A small triplane for :class:`TinyHost`."""
    tasks = dict(semseg=dict(type='SemSeg', num_classes=3), depth=dict(type='mmdense.Depth'))
    return dict(
        dict(type='mmdense.TriplaneRegularizer', tasks=tasks, channels=4, hidden=4, mid_channels=4,
             coarse=4, fine=4, render_stride=4, ramp_iters=4), **changes,
    )  # fmt: skip


def hook(**changes):
    return dict(type='mmdense.RegularizerHook', regularizer=regularizer(**changes))


def make_config(work_dir, iters=3, model=None, hooks=(), **changes):
    """A config of a run over :class:`TinyPictures`."""
    return Config(
        dict(
            dict(
                model=model or dict(type='mmdense.TinyHost'),
                work_dir=str(work_dir),
                train_dataloader=dict(
                    batch_size=2,
                    dataset=dict(type='mmdense.TinyPictures'),
                    sampler=dict(type='InfiniteSampler', shuffle=False),
                ),
                train_cfg=dict(by_epoch=False, max_iters=iters),
                optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
                param_scheduler=[dict(type='PolyLR', by_epoch=False, end=20)],
                default_hooks=dict(
                    logger=dict(type='LoggerHook', interval=1),
                    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1),
                ),
                custom_hooks=[dict(type='mmdense.IterationSeedHook'), *hooks],
                randomness=dict(seed=5),
                experiment_name=str(work_dir).replace('/', '_'),
                log_level='ERROR',
            ),
            **changes,
        )
    )


def make_runner(*args, **kwargs):
    """A runner of :func:`make_config`."""
    return Runner.from_cfg(copy.deepcopy(make_config(*args, **kwargs)))
