"""Small models of each method and random batches for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from config_files import load_file
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmdense.apis.cost_ratio import give_full_weight
from mmdense.registry import MODELS
from mmdense.structures import DenseDataSample

ROOT = Path(__file__).parents[1]
#: One small config per method.
_ROOMS = '1xb8-600_rooms-96x128'
METHODS = {
    'atrc': 'configs/atrc/atrc_r18-thin_1xb8-600_rooms-96x128.py',
    'conv baseline': 'configs/baselines/mtl_r18-thin_1xb8-600_rooms-96x128.py',
    'cross-stitch': f'configs/cross-stitch/cross-stitch_r18-thin_{_ROOMS}.py',
    'ctal-ms': f'configs/ctal/ctal-ms_r18-thin_{_ROOMS}.py',
    'ctal-ss': f'configs/ctal/ctal-ss_r18-thin_{_ROOMS}.py',
    'demt': 'configs/demt/demt_r18-thin_1xb8-600_rooms-96x128.py',
    'invpt': 'configs/invpt/invpt_vit-tiny_1xb8-600_rooms-96x128.py',
    'mtan': f'configs/mtan/mtan_r18-thin_{_ROOMS}.py',
    'mtcp': 'configs/mtcp/mtcp_r18-thin_1xb8-600_rooms-96x128.py',
    'mti-net': f'configs/mti-net/mti-net_r18-thin_{_ROOMS}.py',
    'nddr-cnn': f'configs/nddr-cnn/nddr-cnn_r18-thin_{_ROOMS}.py',
    'pad-net': f'configs/pad-net/pad-net_r18-thin_{_ROOMS}.py',
    'pap-net': f'configs/pap-net/pap-net_r18-thin_{_ROOMS}.py',
    'polymax': 'configs/polymax/polymax_convnext-atto_1xb8-quickstart_rooms-96x128.py',
    'triplane': 'configs/triplane/triplane_r18-thin_1xb8-800_rooms-96x128.py',
}


def load_config(method: str) -> Config:
    """The config of a method, in the scope of mmdense."""
    init_default_scope('mmdense')
    return load_file(ROOT / METHODS[method])


def make_model(method: str, seed: int = 0) -> torch.nn.Module:
    """A model with fresh weights; regularizers act with their full weight."""
    torch.manual_seed(seed)
    model = MODELS.build(load_config(method).model)
    model.init_weights()
    give_full_weight(model)
    return model


def random_inputs(model: torch.nn.Module, count: int) -> torch.Tensor:
    """Random normalised pictures ``(count, 3, H, W)`` of the size the model is made for, if any."""
    return torch.randn(count, 3, *(model.data_preprocessor.size or (64, 96)))


def random_batch(model, sizes, lacking=(), seed=1):
    """A batch of random pictures and labels.

    Args:
        model: A ``DensePredictor``.
        sizes: Height and width of each picture.
        lacking: Pairs of picture index and task key that have no label.
        seed: Seed.
    """
    rng = np.random.default_rng(seed)
    inputs, samples = [], []
    for index, size in enumerate(sizes):
        inputs.append(torch.from_numpy(rng.integers(0, 256, (3, *size), dtype=np.uint8)))
        sample = DenseDataSample(metainfo=dict(ori_shape=size, img_shape=size))
        for key, task in model.tasks.items():
            if (index, key) in lacking:
                continue
            sample.set_gt(task, task.to_tensor(random_gt(task, size, rng)))
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def random_gt(task, size, rng):
    """A random ground-truth array of a task."""
    if task.gt_channels == 3:
        gt = rng.normal(size=(*size, 3)).astype(task.dtype)
        return gt / np.linalg.norm(gt, axis=-1, keepdims=True)
    if task.dtype is np.float32:
        return rng.uniform(0.5, 8, size).astype(np.float32)
    labels = np.arange(size[0] * size[1], dtype=np.int64) % max(task.num_channels, 2)
    # Every label is equally frequent, so that losses balanced over a batch do not depend on
    # how pictures are batched.
    return rng.permutation(labels).reshape(size).astype(np.uint8)


def loss_of(model, batch):
    """Total loss and what is logged, with the preprocessor in between."""
    data = model.data_preprocessor(batch, training=True)
    return model.parse_losses(model(**data, mode='loss'))
