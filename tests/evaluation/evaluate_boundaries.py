"""An evaluation in a process of its own; started by ``test_boundary_metric.py``.

Arguments: cache folder, number of pictures, workers, rank file or '' (two processes), JSON
file for the results.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import torch
from torch.distributed import destroy_process_group, init_process_group

sys.path.insert(0, str(Path(__file__).parent / 'boundary'))
from pictures import blobs

from mmdense.evaluation import BoundaryMetric
from mmdense.structures import DenseDataSample
from mmdense.tasks import Boundary


def make_sample(index, size):
    rng = np.random.default_rng(index)
    task = Boundary()
    sample = DenseDataSample(metainfo=dict(img_path=f'{index}.png', sample_id=str(index)))
    edges = (blobs(rng, size, 4) // 86 == 1).astype(np.uint8)
    sample.set_gt(task, torch.from_numpy(edges[None]))
    sample.set_pred(task, torch.from_numpy(blobs(rng, size, 2)[None] / 255.0))
    return sample.to_dict()


def main(cache_dir, pictures, workers, out, size):
    world = int(os.environ.get('WORLD_SIZE', 1))
    rank = int(os.environ.get('RANK', 0))
    if world > 1:
        init_process_group('gloo')
    metric = BoundaryMetric(workers=workers, cache_dir=cache_dir or None)
    # As mmengine's DefaultSampler: rounds up, so that the last process repeats a picture.
    rounds = -(-pictures // world)
    for index in range(rank, rounds * world, world):
        metric.process(None, [make_sample(index % pictures, (size, size))])
    results = metric.evaluate(pictures)
    if rank == 0:
        Path(out).write_text(json.dumps(results))
    if world > 1:
        destroy_process_group()


if __name__ == '__main__':
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], int(sys.argv[5]))
