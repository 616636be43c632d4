"""Testing a checkpoint: what ``tools/test.py`` does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.evaluator import DumpResults
from mmengine.runner import Runner

from mmdense.utils.config_check import ConfigError, require_valid_config
from mmdense.utils.files import atomic_write_json

from .distributed import init_distributed
from .launch import build_runner, load_config, require_checkpoints, run_loop, set_work_dir
from .run_facts import describe_run

_OUT_SUFFIXES = ('.json', '.pkl', '.pickle')
_PANEL_HOOK = 'DenseVisualizationHook'


def test(
    config: str,
    checkpoint: str,
    *,
    work_dir: str | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    out: str | None = None,
    show_dir: str | None = None,
    pred_dir: str | None = None,
    launcher: str = 'none',
) -> dict[str, float]:
    """Test a checkpoint; the arguments are those of ``tools/test.py``.

    Args:
        config (str): Config file.
        checkpoint (str): File or remote address.
        work_dir (str | None): For logs and results. None: as in training.
        cfg_options (Mapping | None): Key paths to values.
        out (str | None): ``.json``: numbers with their protocols. ``.pkl``: every
            prediction.
        show_dir (str | None): Folder for one panel per picture.
        pred_dir (str | None): Folder for every predicted map as a file, in the form of
            :mod:`mmdense.evaluation.prediction_files`.
        launcher (str): See :data:`~mmdense.engine.distributed.LAUNCHERS`.

    Returns:
        dict[str, float]: ``<task>/<metric>`` to value.

    Raises:
        ConfigError: If the config, an option or the checkpoint is wrong.
        BuildError: If a part cannot be built.
    """
    if out is not None and not out.endswith(_OUT_SUFFIXES):
        raise ConfigError(
            f'--out {out}: end it with .json for the numbers, or with .pkl for every prediction.'
        )
    cfg = load_config(config, cfg_options)
    set_work_dir(cfg, config, work_dir)
    missing = [
        key for key in ('test_dataloader', 'test_cfg', 'test_evaluator') if cfg.get(key) is None
    ]
    if missing:
        raise ConfigError(f'{config} cannot be tested: it does not set {", ".join(missing)}.')
    cfg.load_from, cfg.resume = checkpoint, False
    if cfg.get('model') is not None:
        cfg.model.pop('regularizers', None)  # they act in training only
    if show_dir is not None:
        show_panels(cfg, show_dir)
    if pred_dir is not None:
        added = dict(type='mmdense.SavePredictionsHook', out_dir=pred_dir)
        cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), added]
    require_valid_config(cfg, config)
    require_checkpoints(cfg, training=False, source='CHECKPOINT')
    init_distributed(cfg, launcher)
    runner = build_runner(cfg)
    if out is not None and not out.endswith('.json'):
        runner.test_loop.evaluator.metrics.append(DumpResults(out_file_path=out))
    metrics: dict[str, float] = run_loop(runner, runner.test)
    if out is not None and out.endswith('.json') and is_main_process():
        write_numbers(runner, metrics, out, config=config, checkpoint=checkpoint)
    return metrics


def show_panels(cfg: Config, show_dir: str) -> None:
    """``--show-dir``: one panel per tested picture.

    Args:
        cfg (Config): Changed in place: the config's ``DenseVisualizationHook`` is told, or
            one is added.
        show_dir (str): Folder for the panels.

    Raises:
        ConfigError: If the config has no ``tasks`` to draw.
    """
    hooks = [*(cfg.get('default_hooks') or {}).values(), *(cfg.get('custom_hooks') or [])]
    for hook in hooks:
        if isinstance(hook, Mapping) and str(hook.get('type')).endswith(_PANEL_HOOK):
            hook['show_dir'] = show_dir  # type: ignore[index]
            return
    tasks = cfg.get('tasks') or cfg.get('model', {}).get('tasks')
    if not tasks:
        raise ConfigError(
            '--show-dir: the config names no `tasks`, so there is nothing to draw. Use the '
            'visualization hook of the package that the model comes from.'
        )
    added = dict(type=f'mmdense.{_PANEL_HOOK}', show_dir=show_dir)
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), added]
    visualizer = cfg.get('visualizer') or {}
    if not str(visualizer.get('type', '')).endswith('DenseLocalVisualizer'):
        cfg.visualizer = dict(
            type='mmdense.DenseLocalVisualizer',
            tasks=tasks,
            vis_backends=visualizer.get('vis_backends', [dict(type='LocalVisBackend')]),
        )


def write_numbers(runner: Runner, metrics: Mapping[str, float], out: str, **origin: str) -> None:
    """Write the numbers of a test, with the protocol of each where the evaluator has it."""
    report = dict(getattr(runner.test_loop.evaluator, 'report', None) or {})
    report.setdefault('metrics', dict(metrics))
    run = describe_run(runner, 'test')
    report = dict(origin, iteration=runner.iter, run=run, **report)
    atomic_write_json(out, report)
