"""Whether the tasks pull shared parameters in the same direction."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn

from mmdense.engine.optim_wrappers.shared_parameters import add_gradients, split_parameters
from mmdense.models.balancers import Terms, find_balancer
from mmdense.registry import HOOKS
from mmdense.utils.files import atomic_write_text

from .gradient_picture import draw_diagnostics

_FILE = 'gradient_diagnostics.json'


@HOOKS.register_module()
class GradientDiagnosticsHook(Hook):
    """Measures how the gradients of the tasks on shared parameters agree.

    Every ``interval`` iterations, from the terms that the loss balancer makes of the step
    (weighted by it, averaged over processes):

    - ``gradients/cos_<a>_<b>``: cosine of the angle between two tasks' gradients;
    - ``gradients/conflicts``: share of the pairs whose cosine is negative;
    - ``gradients/norm_<task>``: length of the gradient;
    - ``gradients/share_<task>``: share of the task in the sum of the losses.

    All go to the log and to ``gradient_diagnostics.json`` in the work directory, a line each;
    at the end of the training they are drawn in ``gradient_diagnostics.png``. A resumed run
    continues the file. The training does not change: a measured step costs one more backward pass
    per task and memory for T gradients of the shared parameters. Pairs with a task that has no
    labels in the step are left out.

    Args:
        interval (int): Iterations between measurements. Defaults to 100.
        shared (str | Sequence[str]): As in
            :class:`~mmdense.engine.optim_wrappers.JacobianOptimWrapper`.

    Raises:
        ValueError: If ``interval`` is below 1.
    """

    priority = 'NORMAL'

    def __init__(self, interval: int = 100, shared: str | Sequence[str] = r'^backbone\.') -> None:
        if interval < 1:
            raise ValueError(f'GradientDiagnosticsHook.interval is {interval}; at least 1.')
        self.interval = interval
        self.patterns = shared
        self.params: list[nn.Parameter] = []
        self.rows: list[dict[str, Any]] = []
        self._due = False
        self._measured: dict[str, float] = {}
        self._scale = 1.0

    def before_train(self, runner: Runner) -> None:
        """Find balancer and shared parameters.

        Raises:
            ValueError: If the model has no balancer.
        """
        model = getattr(runner.model, 'module', runner.model)
        balancer = find_balancer(model)
        if balancer is None:
            raise ValueError(
                f'GradientDiagnosticsHook: {type(model).__name__} has no loss balancer that sorts '
                'its losses into tasks. Add a LossBalancerHook with the tasks to custom_hooks.'
            )
        where = 'GradientDiagnosticsHook.shared'
        self.params, _ = split_parameters(model, self.patterns, where)
        balancer.observers.append(self._observe)
        path = Path(runner.work_dir) / _FILE
        if path.exists() and runner.iter > 0:
            rows = [json.loads(line) for line in path.read_text().splitlines()]
            self.rows = [row for row in rows if row['iter'] <= runner.iter]

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self._due = self.every_n_train_iters(runner, self.interval)
        # Small gradients vanish in float16 unless the loss is scaled; angles do not change.
        scaler = getattr(runner.optim_wrapper, 'loss_scaler', None)
        scaler = scaler or getattr(runner.optim_wrapper, 'scaler', None)
        self._scale = scaler.get_scale() if scaler is not None and self._due else 1.0

    def _observe(self, terms: Terms) -> None:
        if not self._due or not torch.is_grad_enabled():
            return
        self._due = False
        sizes = [param.numel() for param in self.params]
        matrix = torch.zeros(len(terms.rows), sum(sizes), device=self.params[0].device)
        for row, value in zip(matrix, terms.rows.values()):
            slots = row.split(sizes)
            add_gradients(value * self._scale, self.params, slots, 1 / self._scale, keep=True)
        if get_world_size() > 1:
            all_reduce(matrix, op='mean')
        self._measured = measure(matrix, terms)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        if not self._measured:
            return
        found, self._measured = self._measured, {}
        for name, value in found.items():
            runner.message_hub.update_scalar(f'train/gradients/{name}', value)
        self.rows.append(dict(iter=runner.iter + 1, **found))
        if is_main_process():
            text = ''.join(json.dumps(row) + '\n' for row in self.rows)
            atomic_write_text(Path(runner.work_dir) / _FILE, text)

    def after_train(self, runner: Runner) -> None:
        if self.rows and is_main_process():
            path = draw_diagnostics(self.rows, Path(runner.work_dir) / 'gradient_diagnostics.png')
            runner.logger.info(f'Gradients of the tasks: {path}')


def measure(matrix: Tensor, terms: Terms) -> dict[str, float]:
    """Cosines, conflicts, lengths and shares of a step.

    Args:
        matrix (Tensor): ``(T, P)``, gradients of the tasks.
        terms (Terms): Of the step.

    Returns:
        dict[str, float]: By the names of :class:`GradientDiagnosticsHook`, without the prefix.
    """
    keys = list(terms.rows)
    gramian = (matrix @ matrix.T).double()
    # One copy to the host for everything.
    packed = torch.cat([gramian.flatten(), terms.means, terms.present.double()]).cpu()
    count = len(keys)
    gramian = packed[: count**2].view(count, count)
    means, present = packed[count**2 :].view(2, count)
    norms = gramian.diagonal().sqrt()
    found: dict[str, float] = {}
    conflicts = []
    for a, b in combinations(range(count), 2):
        if present[a] and present[b] and norms[a] > 0 and norms[b] > 0:
            cosine = float(gramian[a, b] / (norms[a] * norms[b]))
            found[f'cos_{keys[a]}_{keys[b]}'] = cosine
            conflicts.append(cosine < 0)
    if conflicts:
        found['conflicts'] = sum(conflicts) / len(conflicts)
    total = float(means[present > 0].abs().sum())
    for index, key in enumerate(keys):
        if present[index]:
            found[f'norm_{key}'] = float(norms[index])
            found[f'share_{key}'] = float(means[index].abs()) / total if total > 0 else 0.0
    return found
