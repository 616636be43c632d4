r"""Score the best constant predictor of a config's validation or test set.

Every useful model beats it clearly on every task::

    python tools/analysis_tools/constant_baseline.py \
        configs/baselines/mtl_r18-thin_1xb8-600_rooms-96x128.py --split test
"""

import argparse
import sys

from mmengine.config import DictAction
from mmengine.registry import init_default_scope
from mmengine.utils import track_iter_progress
from terminaltables import AsciiTable

from mmdense.engine.launch import guard, load_config
from mmdense.evaluation import ground_truths, score_constants
from mmdense.registry import DATASETS
from mmdense.tasks import build_tasks
from mmdense.utils.command_line import ToolParser
from mmdense.utils.files import atomic_write_json


def parse_args() -> argparse.Namespace:
    parser = ToolParser(__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--split', choices=('val', 'test', 'train'), default='val')
    parser.add_argument('--out', help='write the scores to this JSON file')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='overrides')
    return parser.parse_args()


def run() -> None:
    args = parse_args()
    loader = f'{args.split}_dataloader'
    cfg = load_config(args.config, args.cfg_options, check=('tasks', loader))
    init_default_scope(cfg.get('default_scope', 'mmdense'))
    tasks = build_tasks(cfg.tasks)
    dataset = DATASETS.build(cfg[loader].dataset)
    maps = track_iter_progress((ground_truths(dataset, tasks), len(dataset)))
    scores = score_constants(tasks, list(maps))
    rows = [[name, f'{value:.4f}'] for name, value in scores.items()]
    print('\n' + AsciiTable([['metric', 'best constant'], *rows]).table)
    if args.out:
        atomic_write_json(args.out, scores)


def main() -> int:
    """Score and return the exit code."""
    return guard(run)


if __name__ == '__main__':
    sys.exit(main())
