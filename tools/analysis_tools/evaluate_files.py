r"""Score saved predictions of this library, or of another code.

::

    python tools/analysis_tools/evaluate_files.py work_dirs/mtl/predictions \
        configs/baselines/mtl_r18-thin_1xb8-600_rooms-96x128.py --tasks depth
    python tools/analysis_tools/evaluate_files.py predictions \
        configs/baselines/mtl_r18-thin_1xb8-40k_nyud-425x560.py --profile mti --data nyud

The folder is what ``SavePredictionsHook`` wrote, or another code in the same form:
``<task>/<sample id>.png`` (labels, and 8-bit boundaries, saliency and normals) or ``.npy``
(depth). The ground truth is that of the config's test set, the scores those of its test
evaluator or of any profile.
"""

import argparse
import sys

from mmengine.config import DictAction
from mmengine.registry import init_default_scope

from mmdense.engine.launch import guard, load_config
from mmdense.evaluation import MultiTaskEvaluator, evaluate_files, results_table
from mmdense.registry import DATASETS
from mmdense.utils.command_line import ToolParser
from mmdense.utils.config_check import ConfigError
from mmdense.utils.files import atomic_write_json


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = ToolParser(__doc__)
    parser.add_argument('pred_dir', help='folder of the predictions')
    parser.add_argument('config', help='config file: tasks, test set and test evaluator')
    parser.add_argument('--tasks', nargs='+', metavar='TASK', help='only these (default: all)')
    parser.add_argument('--profile', help="evaluation profile in place of the config's metrics")
    parser.add_argument('--data', help='data set that the profile is for, such as nyud')
    parser.add_argument('--out', metavar='FILE', help='.json: numbers with their protocols')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='overrides')
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> None:
    built = ('tasks', 'test_dataloader', 'test_evaluator')
    cfg = load_config(args.config, args.cfg_options, check=built)
    init_default_scope(cfg.get('default_scope', 'mmdense'))
    options = {k: v for k, v in cfg.test_evaluator.items() if k not in ('type', 'tasks')}
    if args.profile or args.data:
        options = dict(metrics=None, profile=args.profile, data=args.data)
    tasks = {key: value for key, value in cfg.tasks.items() if key in (args.tasks or cfg.tasks)}
    dataset = DATASETS.build(dict(cfg.test_dataloader.dataset, tasks=tasks))
    try:
        evaluator = MultiTaskEvaluator(tasks=tasks, **options)
    except KeyError as error:
        raise ConfigError(str(error.args[0])) from error
    evaluate_files(evaluator, dataset, args.pred_dir)
    print('\n' + results_table(evaluator.report))
    if args.out:
        report = dict(predictions=args.pred_dir, config=args.config, **evaluator.report)
        atomic_write_json(args.out, report)


def main(argv: list[str] | None = None) -> int:
    """Score and return the exit code."""
    args = parse_args(argv)
    return guard(lambda: run(args))


if __name__ == '__main__':
    sys.exit(main())
