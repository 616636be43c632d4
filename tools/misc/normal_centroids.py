r"""Directions that the training normals of a data set gather around, for ``CentroidNormal``.

Spherical k-means over pixels drawn from the pictures of a config::

    python tools/misc/normal_centroids.py \
        configs/atrc/atrc_r18-thin_1xb8-600_rooms-96x128.py normal_centroids.json --num 40
    python tools/train.py configs/atrc/atrc_r18-thin_1xb8-600_rooms-96x128.py --cfg-options \
        model.neck.auxiliary_tasks.normal.centroids=normal_centroids.json \
        model.heads.normal.intermediate_task.centroids=normal_centroids.json
"""

import argparse
import sys
from collections.abc import Iterator

import numpy as np
from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope
from mmengine.utils import track_iter_progress

from mmdense.engine.launch import guard, load_config
from mmdense.evaluation import ground_truths
from mmdense.registry import DATASETS
from mmdense.tasks import BaseTask, build_tasks
from mmdense.utils.command_line import ToolParser
from mmdense.utils.files import atomic_write_json
from mmdense.utils.quantization import hemisphere, spherical_kmeans


def sampled_normals(
    cfg: Config, task: BaseTask, pictures: int, pixels: int, seed: int
) -> Iterator[np.ndarray]:
    """Known normals ``(n, 3)``, at most ``pixels`` of each of at most ``pictures`` pictures.

    Pictures are those of the training, evenly spread over it, read as in validation: no random
    transform, and no crop or scale, which leave normals as they are.
    """
    dataset_cfg = dict(cfg.train_dataloader.dataset)
    dataset_cfg['pipeline'] = [dict(type='PackDenseInputs')]
    dataset_cfg['tasks'] = dict(normal=cfg.tasks['normal'])
    dataset = DATASETS.build(dataset_cfg)
    rng = np.random.default_rng(seed)
    chosen = np.unique(np.linspace(0, len(dataset) - 1, min(pictures, len(dataset))).astype(int))
    subset = [dataset[int(index)] for index in track_iter_progress(list(chosen))]
    for maps in ground_truths(subset, dict(normal=task)):
        normals = maps['normal']
        known = normals[task.valid(normals)]
        yield known[rng.permutation(len(known))[:pixels]]


def run(args: argparse.Namespace) -> None:
    cfg = load_config(args.config, args.cfg_options, check=('tasks', 'train_dataloader'))
    init_default_scope(cfg.get('default_scope', 'mmdense'))
    if 'normal' not in cfg.tasks:
        raise KeyError(f'{args.config}: `tasks` has no normal, only {list(cfg.tasks)}.')
    task = build_tasks(dict(normal=cfg.tasks['normal']))['normal']
    parts = list(sampled_normals(cfg, task, args.pictures, args.pixels, args.seed))
    normals = np.concatenate(parts).astype(np.float64)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    centroids, angle = spherical_kmeans(normals, args.num, args.seed)
    even = np.degrees(np.arccos((normals @ hemisphere(args.num).T).max(1).clip(-1, 1))).mean()
    atomic_write_json(
        args.out,
        dict(
            centroids=centroids.tolist(),
            axes='x right, y up, z towards the camera',
            mean_angle_deg=angle,
            num_normals=len(normals),
            num_pictures=len(parts),
            seed=args.seed,
        ),
    )
    print(
        f'\n{args.num} centroids of {len(normals)} normals of {len(parts)} pictures in {args.out}. '
        f'Mean angle to the nearest: {angle:.2f} deg ({even:.2f} with evenly spread directions).'
    )


def main(argv: list[str] | None = None) -> int:
    """Read the command line and return the exit code."""
    parser = ToolParser(__doc__)
    parser.add_argument('config', help='config file with the task `normal`')
    parser.add_argument('out', help='JSON file to write')
    parser.add_argument('--num', type=int, default=40, help='centroids (default 40)')
    parser.add_argument('--pictures', type=int, default=1000, help='at most (default 1000)')
    parser.add_argument('--pixels', type=int, default=500, help='per picture (default 500)')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='overrides')
    args = parser.parse_args(argv)
    return guard(lambda: run(args))


if __name__ == '__main__':
    sys.exit(main())
