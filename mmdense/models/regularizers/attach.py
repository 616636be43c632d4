"""How regularizers join a model whose code knows nothing of them."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from mmdense.registry import MODELS
from mmdense.tasks import BaseTask, build_tasks
from mmdense.utils import suggest

from .base import FeatureRegularizer
from .run_clock import seed_of
from .train_only import PREFIX


class FeatureTap:
    """Keeps what a submodule gives, for the length of one forward pass in training.

    Args:
        regularizer (FeatureRegularizer): Whose feature it is.
    """

    def __init__(self, regularizer: FeatureRegularizer) -> None:
        self.regularizer = regularizer
        self.disarm()

    def arm(self) -> None:
        """Expect the outputs of one step."""
        self.disarm()
        self._armed = True

    def disarm(self) -> None:
        """Expect nothing: a submodule that runs again to recompute is not listened to."""
        self._armed, self._count, self._blind, self._output = False, 0, 0, None

    def hook(self, module: nn.Module, args: Any, output: Any) -> None:
        """Forward hook of the submodule."""
        if not self._armed:
            return
        if not torch.is_grad_enabled():
            self._blind += 1
            return
        self._count += 1
        if self._count == 1 or self.regularizer.calls == 'last':
            self._output = output

    def take(self, host: nn.Module) -> Any:
        """The output, which is forgotten here.

        Raises:
            RuntimeError: If the submodule did not run, ran several times, or ran without
                gradients.
        """
        output, count, blind = self._output, self._count, self._blind
        self.disarm()
        name = self.regularizer.feature
        where = self.regularizer.key('feature')
        if count == 0 and blind == 0:
            raise RuntimeError(
                f'{where}: {name!r} did not run in the training forward pass. Tap a part that the '
                'losses go through.'
            )
        if count > 1 and self.regularizer.calls is None:
            raise RuntimeError(
                f"{where}: {name!r} ran {count} times in one step; set calls='first' or 'last'."
            )
        self._require_gradient(output, host.get_submodule(name), where)
        return output

    def _require_gradient(self, output: Any, module: nn.Module, where: str) -> None:
        if output is not None and any(t.requires_grad for t in tensors_of(output)):
            return
        if any(p.requires_grad for p in module.parameters()):
            raise RuntimeError(
                f'{where}: {self.regularizer.feature!r} is trained, but its output carries no '
                'gradient: it lies inside a re-entrant activation checkpoint. Tap the '
                'checkpointed module itself, or checkpoint with use_reentrant=False.'
            )
        if output is None:
            raise RuntimeError(
                f'{where}: {self.regularizer.feature!r} ran without gradients (torch.no_grad). '
                'Tap a part that is trained.'
            )
        if not getattr(self.regularizer, '_told_frozen', False):
            self.regularizer._told_frozen = True
            self.regularizer.tell(
                f'{self.regularizer.feature!r} is frozen: the regularizer trains only itself.',
                level=30,
            )


def tensors_of(value: Any) -> Iterator[Tensor]:
    """All tensors in nested containers and dataclasses."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_of(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_of(item)
    elif hasattr(value, '__dataclass_fields__'):
        yield from tensors_of(vars(value))


class Attachment:
    """Runs regularizers at the end of the host's forward pass for losses.

    Args:
        regularizers (Mapping[str, FeatureRegularizer]): By name.
    """

    def __init__(self, host: nn.Module, regularizers: Mapping[str, FeatureRegularizer]) -> None:
        self.regularizers = dict(regularizers)
        self.taps = {name: FeatureTap(reg) for name, reg in self.regularizers.items()}
        # Where the arguments stand that are given by position.
        self.names = list(inspect.signature(host.forward).parameters)
        for name, regularizer in self.regularizers.items():
            tapped = submodule_of(host, regularizer)
            tapped.register_forward_hook(self.taps[name].hook)
        host.register_forward_pre_hook(self.before, with_kwargs=True)
        host.register_forward_hook(self.after, with_kwargs=True)

    def before(self, host: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Listen to a training step, and to nothing else."""
        listen = (
            host.training
            and torch.is_grad_enabled()
            and self._argument('mode', args, kwargs) == 'loss'
        )
        for tap in self.taps.values():
            tap.arm() if listen else tap.disarm()

    def after(
        self, host: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> Any:
        """Add the losses."""
        if not all(tap._armed for tap in self.taps.values()):
            return None
        inputs = self._argument('inputs', args, kwargs)
        samples = self._argument('data_samples', args, kwargs)
        size = tuple(inputs.shape[-2:]) if isinstance(inputs, Tensor) else None
        inherited = getattr(getattr(host, 'balancer', None), 'task_weights', None)
        losses = dict(output)
        for name, regularizer in self.regularizers.items():
            features = self.taps[name].take(host)
            losses |= regularizer(features, samples, None, size, inherited)
        return losses

    def _argument(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if name in kwargs:
            return kwargs[name]
        if name == 'inputs' and args:  # whatever a model calls its first argument
            return args[0]
        position = self.names.index(name) if name in self.names else len(args)
        return args[position] if position < len(args) else None


def submodule_of(host: nn.Module, regularizer: FeatureRegularizer) -> nn.Module:
    """The submodule that a regularizer reads.

    Raises:
        ValueError: If there is none of that name.
    """
    name = regularizer.feature
    names = [n for n, _ in host.named_modules() if n and not n.startswith(PREFIX)]
    if name in names:
        return host.get_submodule(name)
    close = difflib.get_close_matches(name, names, n=3)
    close = [c for c in close if not c.startswith(tuple(f'{other}.' for other in close))]
    parts = [n for n, _ in host.named_children() if not n.startswith(PREFIX)]
    hint = f'close matches: {", ".join(close)}; ' if close else ''
    raise ValueError(
        f'{regularizer.key("feature")}={name!r} is not a submodule of {type(host).__name__}; {hint}'
        f'top-level parts: {", ".join(parts)}.'
    )


@contextmanager
def own_random_state(*parts: int | str) -> Iterator[None]:
    """Draws of the CPU from a stream of their own; the host's is untouched afterwards."""
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(seed_of(*parts))
    try:
        yield
    finally:
        torch.set_rng_state(state)


def add_regularizers(
    host: nn.Module,
    configs: Mapping[str, Mapping[str, Any]],
    tasks: Mapping[str, BaseTask] | None = None,
    losses: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    seed: int | None = None,
    probe: Callable[[nn.Module, str], Any] | None = None,
) -> dict[str, FeatureRegularizer]:
    """Build regularizers, make them children of a model and listen to its features.

    Args:
        host (nn.Module): A model called as ``model(inputs, data_samples, mode='loss')``.
        configs (Mapping): Name to registry config.
        tasks (Mapping | None): Tasks of the host, for ``tasks='all'`` or a list of keys.
        losses (Mapping | None): Task key to configs of the losses that the host trains it
            with, where they are not the task's own.
        seed (int | None): Of the initialisation, with the name; None: torch's.
        probe (Callable | None): What runs the host on zeros to see an output; None:
            :func:`probe_output`.

    Returns:
        dict: Name to regularizer; the child is called ``train_only_<name>``.

    Raises:
        ValueError: If a name, a feature or the tasks do not fit.
    """
    built: dict[str, FeatureRegularizer] = {}
    for name, cfg in configs.items():
        if not name.isidentifier() or hasattr(host, PREFIX + name):
            raise ValueError(f'regularizers.{name}: the name is taken or no identifier.')
        with DefaultScope.overwrite_default_scope('mmdense'):  # the host's may be another
            chosen = _tasks_of(name, cfg.get('tasks', 'all'), tasks)
            given = {key: value for key, value in (losses or {}).items() if key in chosen}
            arguments = {**dict(losses=given), **cfg, 'tasks': chosen, 'name': name}
            # Building and initialising must not move the random stream of the host.
            with own_random_state(torch.initial_seed() if seed is None else seed, name):
                regularizer = MODELS.build(arguments)
                _settle_channels(host, regularizer, probe or probe_output)
        if regularizer.fold_into_tasks and tasks is None:
            raise ValueError(
                f'{regularizer.key("fold_into_tasks")}: {type(host).__name__} names no losses by '
                'task. Set fold_into_tasks=False.'
            )
        parameter = next(host.parameters(), None)
        if parameter is not None:
            regularizer.to(parameter.device)
        host.add_module(PREFIX + name, regularizer.train(host.training))
        built[name] = regularizer
    if built:
        Attachment(host, built)
    return built


def _settle_channels(
    host: nn.Module, regularizer: FeatureRegularizer, probe: Callable[[nn.Module, str], Any]
) -> None:
    """Make the layers if that waits for the channels, or check them where the host tells.

    Raises:
        ShapeError: If the host says other channels than the config.
    """
    told = getattr(submodule_of(host, regularizer), 'channels', None)
    plain = regularizer.in_key is None and regularizer.adapter is None
    if plain and isinstance(told, Sequence) and all(isinstance(c, int) for c in told):
        channels = regularizer.chosen(told)
    elif regularizer.in_channels is not None:
        return
    else:
        output = probe(host, regularizer.feature)
        channels = [m.shape[1] for m in regularizer.select(output)]
    if regularizer.in_channels is None:
        regularizer.set_in_channels(channels)
    regularizer.check_channels(channels)


def _tasks_of(name: str, wanted: Any, tasks: Mapping[str, BaseTask] | None) -> dict[str, BaseTask]:
    where = f'regularizers.{name}.tasks'
    if isinstance(wanted, Mapping):
        return build_tasks(wanted)
    if not tasks:
        raise ValueError(
            f'{where}={wanted!r}: the model has no `tasks`; name them, for example '
            "tasks=dict(semseg=dict(type='mmdense.SemSeg', num_classes=40))."
        )
    if wanted == 'all':
        return dict(tasks)
    by_name = {alias: task for task in tasks.values() for alias in (task.key, *task.aliases)}
    chosen = {}
    for key in [wanted] if isinstance(wanted, str) else wanted:
        if key not in by_name:
            raise ValueError(f'{where}: {suggest(key, tasks)}')
        chosen[by_name[key].key] = by_name[key]
    return chosen


def probe_output(host: nn.Module, feature: str, size: tuple[int, int] = (64, 64)) -> Any:
    """What a submodule gives for a picture of zeros.

    Raises:
        RuntimeError: If the model does not run on such a picture.
    """
    parameter = next(host.parameters())
    inputs = torch.zeros(1, 3, *size, device=parameter.device, dtype=parameter.dtype)
    try:
        return feature_of(host, feature, inputs)
    except Exception as error:
        raise RuntimeError(
            f'in_channels=None: the model does not run on zeros of {tuple(inputs.shape)} '
            f'({type(error).__name__}: {error}). Give in_channels=(...) of {feature!r}.'
        ) from error


@torch.no_grad()
def feature_of(host: nn.Module, feature: str, inputs: Tensor) -> Any:
    """What a submodule gives in evaluation mode; random state and training modes stay.

    Raises:
        RuntimeError: If it does not run.
    """
    seen: list[Any] = []
    handle = host.get_submodule(feature).register_forward_hook(lambda *args: seen.append(args[2]))
    modes = {module: module.training for module in host.modules()}
    try:
        with torch.random.fork_rng([inputs.device] if inputs.is_cuda else []):
            host.eval()(inputs, mode='tensor')
    finally:
        handle.remove()
        for module, training in modes.items():
            module.training = training
    if not seen:
        raise RuntimeError(f'{feature!r} did not run in a forward pass.')
    return seen[-1]
