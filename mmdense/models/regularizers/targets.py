"""Ground truth of a batch, from the data samples of any package of the family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mmdense.structures import DenseDataSample
from mmdense.tasks import BaseTask
from mmdense.utils import ShapeError


class TargetReader:
    """Reads the ground truth of tasks by field name.

    Args:
        tasks (Mapping[str, BaseTask]): Task key to task.
        fields (Mapping[str, str]): Task key to the field, where it is not the task's own.
    """

    def __init__(self, tasks: Mapping[str, BaseTask], fields: Mapping[str, str]) -> None:
        self.tasks = tasks
        self.fields = {key: fields.get(key, f'gt_{task.field}') for key, task in tasks.items()}
        self._seen: set[str] = set()

    def of(self, sample: Any, key: str) -> Tensor | None:
        """Ground truth ``(D, H, W)`` of a sample, or None."""
        field = self.fields[key]
        value = sample.get(field) if hasattr(sample, 'get') else getattr(sample, field, None)
        value = getattr(value, 'data', value) if not isinstance(value, Tensor) else value
        if not isinstance(value, Tensor):
            return None
        return value[None] if value.ndim == 2 else value

    def collate(
        self,
        samples: Sequence[Any],
        size: tuple[int, int],
        device: torch.device,
        where: str,
    ) -> dict[str, Tensor]:
        """Task key to ``(B, D, H, W)``; a picture without a task's map is unknown everywhere.

        Raises:
            KeyError: If a task has had no ground truth in any batch so far, and the samples
                are not mmdense's own, in which tasks may be missing.
            ShapeError: If a map has another size than the input.
        """
        stacked = {}
        for key, task in self.tasks.items():
            maps = [self.of(sample, key) for sample in samples]
            if any(m is not None for m in maps):
                self._seen.add(key)
            elif key not in self._seen and not isinstance(samples[0], DenseDataSample):
                raise KeyError(
                    f'{where}: task {key!r} needs {self.fields[key]!r}; the batch has: '
                    f'{", ".join(_truths(samples[0])) or "no ground truth"}. Load it in the '
                    f"pipeline, name its field with targets=dict({key}='...'), or leave the "
                    'task out.'
                )
            empty = task.to_tensor(task.empty(size))
            filled = [(empty if m is None else m).to(device, non_blocking=True) for m in maps]
            for sample, value in zip(samples, filled):
                if tuple(value.shape[-2:]) != tuple(size):
                    path = getattr(sample, 'metainfo', {}).get('img_path', 'sample without a path')
                    raise ShapeError(
                        f'{where}: ground truth of task {key!r} is {tuple(value.shape[-2:])} for '
                        f'an input of {tuple(size)} ({path}). The data preprocessor has to pad '
                        'both alike.'
                    )
            stacked[key] = torch.stack(filled)
        return stacked


def size_of_samples(samples: Sequence[Any], reader: TargetReader) -> tuple[int, int]:
    """Height and width of the first ground truth that is there.

    Raises:
        ShapeError: If there is none.
    """
    for sample in samples:
        for key in reader.tasks:
            found = reader.of(sample, key)
            if found is not None:
                return found.shape[-2], found.shape[-1]
    raise ShapeError('no ground truth tells the size of the input; give image_size.')


def _truths(sample: Any) -> list[str]:
    """Names of the fields of a sample that hold ground truth."""
    names = sample.keys() if hasattr(sample, 'keys') else vars(sample)
    return sorted(name for name in names if name.startswith('gt_'))
