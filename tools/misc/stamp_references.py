"""Write the protocol lines of published references anew, from the profile that each names.

For when the wording of a protocol line has changed and its meaning has not::

    python tools/misc/stamp_references.py configs/_base_/references/nyud_*.yaml
"""

import argparse
import dataclasses
import re
import sys
from typing import Any

from mmdense.engine.launch import guard
from mmdense.evaluation import MultiTaskEvaluator, Reference, load_reference, save_reference
from mmdense.evaluation.profiles import choose_profile
from mmdense.tasks import build_tasks
from mmdense.utils import DataError
from mmdense.utils.command_line import ToolParser

_CLASSES = dict(nyud=40, nyuv2=13, pascal=21, cityscapes=19)
_SUBSET = re.compile(r'pictures of (\S+)$')


def tasks_of(reference: Reference) -> dict[str, Any]:
    """Configs of the tasks of a reference, in its kinds and numbers of classes."""
    semseg = dict(type='SemSeg', num_classes=_CLASSES[reference.setting.data or ''])
    inverse = dict(type='Depth', kind='inverse_norm', min_depth=0, max_depth=1)
    known = [semseg, dict(type='Depth'), inverse]
    known += [dict(type=name) for name in ('Normal', 'Boundary', 'Part', 'Saliency')]
    tasks = {}
    for config in known:
        ((key, task),) = build_tasks({_key_of(config): config}).items()
        if task.prefix in reference.tasks:
            tasks[key] = config
    return tasks


def _key_of(config: dict[str, Any]) -> str:
    return str(config['type']).lower()


def evaluator_of(reference: Reference, **options: Any) -> MultiTaskEvaluator:
    """The evaluator of the profile of a reference.

    A list of pictures that the reference was scored on, 'pictures of x.txt' at the end of a
    line, is not part of any profile and kept.
    """
    tasks = tasks_of(reference)
    metrics = {}
    for task in tasks:
        lines = [
            reference.metrics[n].protocol for n in reference.metrics if n.startswith(f'{task}/')
        ]
        found = _SUBSET.search(lines[0]) if lines else None
        if found:
            (protocol,) = choose_profile(reference.profile, reference.setting.data, [task]).values()
            metrics[task] = [dict(cfg, subset=found.group(1)) for cfg in protocol.metrics]
    return MultiTaskEvaluator(
        tasks, metrics, profile=reference.profile, data=reference.setting.data, **options
    )


def stamp(reference: Reference) -> Reference:
    """The reference with the lines that its profile prints now."""
    lines = {
        f'{metric.prefix}/{name}': metric.protocol
        for metric in evaluator_of(reference).metrics
        for name in metric.higher_is_better
    }
    missing = [name for name in reference.metrics if name not in lines]
    if missing:
        raise DataError(
            f'{reference.path}: profile {reference.profile!r} does not compute {missing[0]}.'
        )
    metrics = {
        name: dataclasses.replace(value, protocol=lines[name])
        for name, value in reference.metrics.items()
    }
    return dataclasses.replace(reference, metrics=metrics)


def run(args: argparse.Namespace) -> None:
    """Rewrite the files whose lines changed."""
    for path in args.files:
        old = load_reference(path)
        if old.profile is None:
            raise DataError(f'{path}: names no profile; make it again with make_reference.py.')
        new = stamp(old)
        print(f'{path}: {"unchanged" if new == old else "written"}')
        if new != old:
            save_reference(new, path)


def main(argv: list[str] | None = None) -> int:
    """Read the command line and return the exit code."""
    parser = ToolParser(__doc__)
    parser.add_argument('files', nargs='+', help='reference files that name a profile')
    parser.add_argument('--debug', action='store_true', help='show tracebacks')
    args = parser.parse_args(argv)
    return guard(lambda: run(args), debug=args.debug)


if __name__ == '__main__':
    sys.exit(main())
