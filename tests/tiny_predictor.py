"""A predictor of every kind of map that builds and runs in milliseconds."""

import torch
from mmengine.config import Config

from mmdense.registry import MODELS

TASKS = dict(
    semseg=dict(type='SemSeg', num_classes=5, classes=('wall', 'floor', 'bed', 'chair', 'table')),
    depth=dict(type='Depth'),
    normal=dict(type='Normal'),
    boundary=dict(type='Boundary'),
    reshading=dict(type='Reshading'),
)


@MODELS.register_module(force=True)
class TinyInferenceBackbone(torch.nn.Module):
    """One map at stride 4."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 4, stride=4)
        self.mix = torch.nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x):
        return (self.mix(self.conv(x).relu()),)


def tiny_config(pipeline=(), **preprocessor):
    """A whole config."""
    cfg = dict(
        default_scope='mmdense',
        model=dict(
            type='DensePredictor',
            tasks=TASKS,
            backbone=dict(type='TinyInferenceBackbone'),
            heads={
                key: dict(type='ConvHead', in_channels=8, channels=8, num_convs=1) for key in TASKS
            },
            data_preprocessor=dict(type='DenseDataPreprocessor', **preprocessor),
        ),
        test_dataloader=dict(
            dataset=dict(dataset=dict(pipeline=[*pipeline, dict(type='PackDenseInputs')]))
        ),
    )
    return Config(cfg)


def tiny_checkpoint(path, cfg=None):
    """Write weights that do not depend on the order of tests, with the config if wanted."""
    torch.manual_seed(3)
    model = MODELS.build((cfg or tiny_config()).model)
    meta = {} if cfg is None else dict(cfg=cfg.pretty_text)
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    return str(path)
