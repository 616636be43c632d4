"""Finds mistakes in a config before anything is built.

mmengine builds a config part by part, so a misspelt name shows only when its turn comes: the
data set after the model, the test evaluator after the training. Here the whole tree is walked
first, every ``type`` is looked up and every key is held against the constructor it goes to.

Only what mmengine certainly builds is judged. A nested dict that a part reads by itself, a
constructor with ``**kwargs`` and a helper variable are left to the build.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import close_names
from .registry_lookup import UnknownTypeError, accepted_by, resolve


class ConfigError(ValueError):
    """The config, or a command-line option that changes it, is wrong."""


@dataclass(frozen=True)
class ConfigProblem:
    """One mistake: where it is, what is there, and what would be right."""

    path: str
    message: str

    def __str__(self) -> str:
        return f'{self.path}: {self.message}'


@dataclass(frozen=True)
class _Place:
    """What stands at a place of the config.

    Args:
        registries (tuple[str, ...]): Where its ``type`` is looked up.
        mapping (bool): Whether the place holds names with a config, or several, each.
        default_type (str): ``type`` where the config gives none; '' if it must.
        extra (tuple[str, ...]): Keys that mmengine takes out before it builds.
    """

    registries: tuple[str, ...]
    mapping: bool = False
    default_type: str = ''
    extra: tuple[str, ...] = ()


_HOOK_EXTRA = ('priority',)
_EVALUATOR = _Place(('METRICS', 'EVALUATOR'), default_type='?')
_MODEL = _Place(('MODELS',))
_DATASET = _Place(('DATASETS',))
_SAMPLER = _Place(('DATA_SAMPLERS',))
_TRANSFORM = _Place(('TRANSFORMS',))
_TASKS = _Place(('TASKS',), mapping=True)

# What the runner builds, by top-level key.
_TOP: dict[str, _Place] = {
    'model': _MODEL,
    'tta_model': _MODEL,
    'data_preprocessor': _Place(('MODELS',), default_type='?'),
    'train_cfg': _Place(('LOOPS',), default_type='?', extra=('by_epoch',)),
    'val_cfg': _Place(('LOOPS',), default_type='?'),
    'test_cfg': _Place(('LOOPS',), default_type='?'),
    'optim_wrapper': _Place(
        ('OPTIM_WRAPPERS',),
        default_type='OptimWrapper',
        extra=('constructor', 'paramwise_cfg'),
    ),
    'param_scheduler': _Place(
        ('PARAM_SCHEDULERS',), mapping=True, extra=('convert_to_iter_based',)
    ),
    'default_hooks': _Place(('HOOKS',), mapping=True, extra=_HOOK_EXTRA),
    'custom_hooks': _Place(('HOOKS',), extra=_HOOK_EXTRA),
    'val_evaluator': _EVALUATOR,
    'test_evaluator': _EVALUATOR,
    'visualizer': _Place(('VISUALIZERS',), default_type='Visualizer'),
    'log_processor': _Place(('LOG_PROCESSORS',), default_type='LogProcessor'),
}
_DATALOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
# What parts build from their own arguments, by the name of the argument.
_NESTED: dict[str, _Place] = {
    'tasks': _TASKS,
    'auxiliary_tasks': _TASKS,
    'intermediate_task': _Place(('TASKS',)),
    'contexts': _Place(('MODELS',), mapping=True),
    'backbone': _MODEL,
    'neck': _Place(('MODELS',), mapping=True),
    'decode_head': _MODEL,
    'auxiliary_head': _MODEL,
    'heads': _Place(('MODELS',), mapping=True),
    'regularizers': _Place(('MODELS',), mapping=True),
    'regularizer': _MODEL,
    'adapter': _MODEL,
    'balancer': _Place(('BALANCERS',)),
    'data_preprocessor': _Place(('MODELS',), default_type='?'),
    'dataset': _DATASET,
    'datasets': _DATASET,
    'pipeline': _TRANSFORM,
    'transforms': _TRANSFORM,
    'metrics': _Place(('METRICS',), mapping=True),
    'cross_task': _Place(('METRICS',)),
    'optimizer': _Place(('OPTIMIZERS',)),
    'second_optimizer': _Place(('OPTIMIZERS',)),
    'vis_backends': _Place(('VISBACKENDS',)),
}
_META = frozenset({'type', '_scope_', '_delete_'})
# Top-level keys that mmengine's runner reads; a near miss of one is silently ignored by it.
_RUNNER_KEYS = frozenset(_TOP) | {
    *_DATALOADERS,
    'auto_scale_lr',
    'load_from',
    'resume',
    'launcher',
    'env_cfg',
    'log_level',
    'default_scope',
    'randomness',
    'experiment_name',
    'work_dir',
    'model_wrapper_cfg',
    'sync_bn',
    'find_unused_parameters',
    'compile',
    'custom_imports',
}


def check_config(
    cfg: Mapping[str, Any], only: Collection[str] | None = None
) -> list[ConfigProblem]:
    """Look for names that nothing answers to.

    Args:
        cfg (Mapping): A whole config, as ``mmengine.Config.fromfile`` reads it.
        only (Collection[str] | None): Top-level keys to look at, for who builds no more than
            these: a data set can be read whose model needs an absent package; `tasks` may be
            among them. None: all that the runner builds.

    Returns:
        list[ConfigProblem]: What is wrong, in the order of the config. Empty if nothing is.
    """
    # Whole configs are for mmengine's runner; parts of them are built by mmdense itself.
    fallback = 'mmengine' if only is None else 'mmdense'
    checker = _Checker(str(cfg.get('default_scope') or fallback))
    for key, value in cfg.items():
        if only is not None and key not in only:
            continue
        if key in _TOP:
            checker.visit(value, key, _TOP[key])
        elif key in _DATALOADERS:
            checker.dataloader(value, key)
        elif only is not None:
            checker.visit(value, key, _NESTED[key])
        elif key not in _RUNNER_KEYS:
            checker.near_miss(key, cfg)
    return checker.problems


def require_valid_config(
    cfg: Mapping[str, Any], filename: str, only: Collection[str] | None = None
) -> None:
    """Raise one error that lists all problems of a config, or of some of its ``only`` keys.

    Raises:
        ConfigError: If :func:`check_config` finds anything.
    """
    problems = check_config(cfg, only)
    if problems:
        count = 'a mistake' if len(problems) == 1 else f'{len(problems)} mistakes'
        lines = '\n'.join(f'  - {problem}' for problem in problems)
        raise ConfigError(f'{filename} (with its options) has {count}:\n{lines}')


class _Checker:
    """Walks a config and collects problems."""

    def __init__(self, scope: str) -> None:
        self.scope = scope
        self.problems: list[ConfigProblem] = []

    def report(self, path: str, message: str) -> None:
        self.problems.append(ConfigProblem(path, message))

    def visit(self, value: Any, path: str, place: _Place) -> None:
        if isinstance(value, Mapping):
            if place.mapping and 'type' not in value and not _has_scalar(value):
                single = _Place(place.registries, extra=place.extra)
                for name, item in value.items():
                    self.visit(item, f'{path}.{name}', single)
            else:
                self.part(value, path, place)
        elif _is_list(value):
            for index, item in enumerate(value):
                self.visit(item, f'{path}[{index}]', place)

    def part(self, cfg: Mapping[str, Any], path: str, place: _Place) -> None:
        outer = self.scope
        self.scope = str(cfg.get('_scope_') or outer)
        kind = cfg.get('type', place.default_type)
        if kind == '':
            keys = ', '.join(map(str, cfg)) or 'nothing'
            self.report(path, f'has no `type`, so nothing can be built of it (it holds {keys}).')
        elif kind != '?':
            target = self.look_up(kind, path, place)
            if target is not None:
                self.arguments(cfg, path, target, place)
        self.nested(cfg, path)
        self.scope = outer

    def look_up(self, kind: Any, path: str, place: _Place) -> Callable[..., Any] | None:
        if not isinstance(kind, str):  # a pure-Python config names the class itself
            return kind if callable(kind) else None
        try:
            found: Callable[..., Any] = resolve(kind, place.registries, self.scope)
        except UnknownTypeError as failure:
            self.report(f'{path}.type', f"'{kind}': {failure}")
            return None
        return found

    def arguments(
        self, cfg: Mapping[str, Any], path: str, target: Callable[..., Any], place: _Place
    ) -> None:
        accepted = accepted_by(target)
        for key in cfg:
            if key in accepted.names or key in _META or key in place.extra:
                continue
            # `**kwargs` may take anything; a name one letter off a documented one is a slip
            # all the same, and such constructors tend to swallow it.
            free = accepted.names - set(cfg)
            if accepted.exact or difflib.get_close_matches(key, free, n=1, cutoff=0.9):
                self.report(f'{path}.{key}', unexpected_key(target, key, accepted.names))

    def nested(self, cfg: Mapping[str, Any], path: str) -> None:
        for key, value in cfg.items():
            if key in _NESTED and not (_NESTED[key] is _TASKS and _is_patterns(value)):
                self.visit(value, f'{path}.{key}', _NESTED[key])

    def dataloader(self, cfg: Any, path: str) -> None:
        for loader, where in _loaders(cfg, path):
            self.visit(loader.get('dataset'), f'{where}.dataset', _DATASET)
            for key in ('sampler', 'batch_sampler'):
                self.visit(loader.get(key), f'{where}.{key}', _SAMPLER)
            from torch.utils.data import DataLoader

            names = accepted_by(DataLoader).names | {
                'num_batch_per_epoch',
                'disable_subprocess_warning',
            }
            for key in loader:
                if key not in names and key not in _META:
                    self.report(f'{where}.{key}', unexpected_key(DataLoader, key, names))

    def near_miss(self, key: str, cfg: Mapping[str, Any]) -> None:
        """A misspelt top-level key would change nothing without a word."""
        close = difflib.get_close_matches(key, _RUNNER_KEYS, n=1, cutoff=0.88)
        # `train_dataloader2` is somebody's helper variable.
        if close and close[0] not in key:
            there = ', which the config sets as well' if close[0] in cfg else ''
            self.report(
                key, f"has no effect. Did you mean '{close[0]}'{there}? Rename or remove it."
            )


def unexpected_key(target: Callable[..., Any], key: str, names: frozenset[str]) -> str:
    """Say which key a constructor does not know, and which ones it does."""
    shown = sorted(names - {'self'})
    close = close_names(key, shown, 1)
    hint = f" Did you mean '{close[0]}'?" if close else ' Rename or remove it.'
    where = getattr(target, '__name__', str(target))
    return f"{where} takes no argument '{key}'. It takes: {', '.join(shown)}.{hint}"


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _is_patterns(value: Any) -> bool:
    """Whether names stand for regular expressions, by which `LossBalancerHook` sorts losses."""
    if not isinstance(value, Mapping):
        return False
    texts = [v if _is_list(v) else [v] for v in value.values()]
    return bool(texts) and all(isinstance(text, str) for several in texts for text in several)


def _has_scalar(value: Mapping[str, Any]) -> bool:
    """Whether something in it is no config, list or None: then it is one part without a type."""
    named = (Mapping, type(None))
    return any(not isinstance(v, named) and not _is_list(v) for v in value.values())


def _loaders(cfg: Any, path: str) -> list[tuple[Mapping[str, Any], str]]:
    if isinstance(cfg, Mapping):
        return [(cfg, path)]
    if _is_list(cfg):
        return [
            (item, f'{path}[{index}]') for index, item in enumerate(cfg) if isinstance(item, dict)
        ]
    return []
