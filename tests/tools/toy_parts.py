"""A model and a data set that train in milliseconds, for the tests of the tools."""

import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from torch import nn
from torch.utils.data import Dataset

from mmdense.registry import DATASETS, METRICS, MODELS
from mmdense.utils import DataError


@MODELS.register_module(force=True)
class ToyModel(BaseModel):
    def __init__(self, width: int, norm: dict | None = None, init_cfg: dict | None = None):
        super().__init__(init_cfg=init_cfg)
        if width < 1:
            raise ValueError(f'ToyModel: width is {width}; give a positive number.')
        self.norm_type = (norm or dict(type='none'))['type']
        self.layer = nn.Linear(2, width)

    def forward(self, inputs, mode='tensor', **_):
        out = self.layer(inputs)
        if mode == 'loss':
            return dict(loss=out.square().mean())
        return list(out) if mode == 'predict' else out


@DATASETS.register_module(force=True)
class ToyDataset(Dataset):
    METAINFO: dict = {}

    def __init__(self, length: int = 4, fail_at: int = -1, root: str = ''):
        self.length, self.fail_at = length, fail_at
        if root:
            with open(root):
                pass

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        if index == self.fail_at:
            raise DataError(f'picture {index} cannot be read: toy/{index}.png')
        return dict(inputs=torch.full((2,), float(index)))


@METRICS.register_module(force=True)
class ToyMetric(BaseMetric):
    default_prefix = 'toy'

    def process(self, data_batch, data_samples):
        self.results.append(len(data_batch['inputs']))

    def compute_metrics(self, results):
        return dict(count=sum(results))
