"""A regularizer for any model of the family, without a change to the model."""

from __future__ import annotations

import copy
import gc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import master_only
from mmengine.hooks import CheckpointHook, Hook
from mmengine.model import convert_sync_batchnorm, is_model_wrapper, revert_sync_batchnorm
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import BaseLoop, Runner
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mmdense.models.regularizers import add_regularizers
from mmdense.models.regularizers.run_clock import RunClock
from mmdense.models.regularizers.train_only import (
    META_KEY,
    PREFIX,
    reconcile,
    strip_checkpoint,
    train_only_children,
)
from mmdense.registry import HOOKS, MODELS
from mmdense.utils.checkpoints import save_under_digest

_IN_CONFIG = 'give it in the config of an mmdense model, model=dict(regularizers=dict(...))'


@HOOKS.register_module()
class RegularizerHook(Hook):
    """Attaches a :class:`~mmdense.models.regularizers.FeatureRegularizer` before training.

    The model may be mmseg's, mmdet's or any other ``BaseModel`` called as
    ``model(inputs, data_samples, mode='loss')``. The regularizer becomes its child
    ``train_only_<name>``; the model is wrapped again, and optimizer wrapper, learning rate
    scaling and schedules are built again from the config, so that parameter groups (the
    child's name is a usable ``custom_keys``), AMP and schedules cover it. Where the runner was
    given objects and no config, a parameter group is added. Validation, testing and export
    never see it.

    Checkpoints of the training hold its weights; ``meta['train_only_prefixes']`` names them,
    and published files are without.

    Args:
        regularizer (dict): Its registry config. ``tasks`` is a mapping of task configs, unless
            the model has tasks itself.
        feature (str | None): See ``FeatureRegularizer``; None: as ``regularizer`` says.
        name (str | None): Prefix of its losses. None: ``'triplane'`` and the like.
    """

    # Hooks that copy the model before the run, such as EMA, must see it complete.
    priority = 'VERY_HIGH'

    def __init__(
        self,
        regularizer: Mapping[str, Any],
        feature: str | None = None,
        name: str | None = None,
    ) -> None:
        self.config = dict(regularizer)
        if feature is not None:
            self.config['feature'] = feature
        kind = self.config.get('type')
        kind = MODELS.get(kind) if isinstance(kind, str) else kind
        self.name = str(name or getattr(kind, 'default_name', 'regularizer'))

    def before_run(self, runner: Runner) -> None:
        """Attach, if this run trains.

        Raises:
            RuntimeError: If the model or the optimizer cannot take new parameters here.
        """
        if not isinstance(getattr(runner, '_train_loop', None), BaseLoop):
            return
        wrapper = runner.model
        inner = _unwrap(runner)
        if hasattr(inner, PREFIX + self.name):  # the same runner trains a second time
            return
        tasks = getattr(inner, 'tasks', None)
        tasks = tasks if isinstance(tasks, Mapping) else None
        add_regularizers(inner, {self.name: self.config}, tasks, seed=int(runner.seed or 0))
        child = inner.get_submodule(PREFIX + self.name)
        _match_norms(runner, inner, child)
        if is_model_wrapper(wrapper):
            runner.model = inner
            # The wrapper's reducer listens to the parameters until it is gone.
            settings = _settings_of(wrapper)
            del wrapper
            gc.collect()
            runner.model = _wrap(runner, inner, settings)
        _rebuild_optimizer(runner, child)
        count = sum(p.numel() for p in child.parameters())
        runner.logger.info(
            f'{PREFIX}{self.name}: {type(child).__name__} on {child.feature!r}, {count:,} '
            'parameters, in training only.'
        )

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Tell the regularizer where the run is."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        child = model.get_submodule(PREFIX + self.name)
        child.clock = RunClock(runner.iter, runner.max_iters, int(runner.seed or 0))

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Let weights of a training fit a model without the branch, and the reverse."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        reconcile(model, checkpoint, bool(runner._resume), runner._load_from)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Say which weights inference does without."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        checkpoint.setdefault('meta', {})[META_KEY] = [
            f'{name}.' for name in train_only_children(model)
        ]

    def after_run(self, runner: Runner) -> None:
        """Take the branch out of the files that the checkpoint hook published."""
        for hook in runner.hooks:
            if isinstance(hook, CheckpointHook) and hook.published_keys is not None:
                _strip_published(runner, hook)


def _unwrap(runner: Runner) -> nn.Module:
    """The model itself.

    Raises:
        RuntimeError: If its wrapper shards parameters when it is made.
    """
    model = runner.model
    if getattr(runner, 'strategy', None) is not None or (
        is_model_wrapper(model) and not isinstance(model, DistributedDataParallel)
    ):
        raise RuntimeError(
            f'RegularizerHook: the model is wrapped in {type(model).__name__}, which takes its '
            f'parameters when it is made, before any hook runs. Use DDP, or {_IN_CONFIG}.'
        )
    return model.module if is_model_wrapper(model) else model


def _match_norms(runner: Runner, host: nn.Module, child: nn.Module) -> None:
    """Synchronised batch norms where the host has them, plain ones where it cannot."""
    if not runner.distributed:
        revert_sync_batchnorm(child)
        return
    kind = runner.cfg.get('sync_bn') if runner.cfg else None
    if kind is None and any(isinstance(m, nn.SyncBatchNorm) for m in host.modules()):
        kind = 'torch'
    if kind is not None:
        convert_sync_batchnorm(child, kind)


def _settings_of(wrapper: nn.Module) -> dict[str, Any]:
    """How a wrapper that was handed over as an object was made."""
    return dict(
        type=type(wrapper),
        device_ids=wrapper.device_ids,
        broadcast_buffers=wrapper.broadcast_buffers,
        find_unused_parameters=wrapper.find_unused_parameters,
    )


def _wrap(runner: Runner, model: nn.Module, settings: dict[str, Any]) -> nn.Module:
    if runner.cfg:
        wrapped: nn.Module = runner.wrap_model(
            copy.deepcopy(runner.cfg.get('model_wrapper_cfg')), model
        )
        return wrapped
    kind = settings.pop('type')
    again: nn.Module = kind(module=model, **settings)
    return again


def _rebuild_optimizer(runner: Runner, child: nn.Module) -> None:
    """Optimizer, scaled rates and schedules that cover the new parameters."""
    config = runner.cfg.get('optim_wrapper') if runner.cfg else None
    if config is None:
        _add_group(runner, child)
        return
    schedules = runner.cfg.get('param_scheduler')
    built = runner.param_schedulers
    runner.optim_wrapper = runner.build_optim_wrapper(copy.deepcopy(config))
    # Rates are scaled before schedules are built, which the runner checks.
    runner.param_schedulers = None
    runner.scale_lr(runner.optim_wrapper, runner.auto_scale_lr)
    if built is not None:
        runner.param_schedulers = runner.build_param_scheduler(copy.deepcopy(schedules))


def _add_group(runner: Runner, child: nn.Module) -> None:
    """A parameter group for an optimizer that exists, with the settings of its first one."""
    wrapper = runner.optim_wrapper
    optimizer: Any = getattr(wrapper, 'optimizer', None)
    single = isinstance(wrapper, OptimWrapper) and not isinstance(wrapper, OptimWrapperDict)
    if not single or not hasattr(optimizer, 'add_param_group'):
        raise RuntimeError(
            f'RegularizerHook: {type(wrapper).__name__} was given as a finished object and takes '
            f'no further parameters. Give optim_wrapper as a config, or {_IN_CONFIG}.'
        )
    first = {key: value for key, value in optimizer.param_groups[0].items() if key != 'params'}
    optimizer.add_param_group(dict(first, params=list(child.parameters())))
    last = len(optimizer.param_groups) - 1
    for scheduler in runner.param_schedulers or ():
        # mmengine may list a group of its own behind those of the optimizer.
        initial = optimizer.param_groups[last][f'initial_{scheduler.param_name}']
        scheduler.base_values.insert(last, initial)


@master_only
def _strip_published(runner: Runner, hook: CheckpointHook) -> None:
    kept = [hook.last_ckpt, getattr(hook, 'best_ckpt_path', None)]
    kept += list((getattr(hook, 'best_ckpt_path_dict', None) or {}).values())
    for source in {str(path) for path in kept if path}:
        stem = Path(source).with_suffix('')
        for path in stem.parent.glob(f'{stem.name}-????????.pth'):
            # Written a moment ago by this very run.
            checkpoint = torch.load(path, map_location='cpu', weights_only=False)
            stripped = strip_checkpoint(checkpoint)
            if stripped.get('state_dict', {}).keys() == checkpoint.get('state_dict', {}).keys():
                continue
            target = save_under_digest(stripped, str(stem))
            path.unlink()
            runner.logger.info(f'Published without training-only weights: {target}')
