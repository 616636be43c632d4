"""From the samples of a batch to one tensor per task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mmdense.tasks import BaseTask
from mmdense.utils import ShapeError

from .dense_data_sample import DenseDataSample


def collate_gt(
    tasks: Mapping[str, BaseTask],
    data_samples: Sequence[DenseDataSample],
    size: tuple[int, int],
    device: torch.device | str,
) -> dict[str, Tensor]:
    """Stack the ground truth of a batch.

    A picture that lacks a task contributes a map in which every pixel is unknown, so
    the losses see partial labels as invalid pixels and need no case of their own.

    Args:
        tasks (Mapping[str, BaseTask]): The tasks to stack.
        data_samples (Sequence[DenseDataSample]): One per picture, padded to ``size``.
        size (tuple[int, int]): Height and width of the network input.
        device (torch.device | str): Where the result lives.

    Returns:
        dict[str, Tensor]: Task key to ``(B, D, H, W)``.

    Raises:
        ShapeError: If some ground truth has another size than the input.
    """
    stacked = {}
    for key, task in tasks.items():
        maps = []
        for sample in data_samples:
            gt = sample.gt(task)
            if gt is None:
                gt = task.to_tensor(task.empty(size))
            if tuple(gt.shape[-2:]) != size:
                raise ShapeError(
                    f"Ground truth of task '{key}' is {tuple(gt.shape[-2:])} for an input of "
                    f'{size} ({sample.metainfo.get("img_path", "sample without a path")}). '
                    'Training pipelines must move image and ground truth together, and the '
                    'data preprocessor pads both.'
                )
            maps.append(gt.to(device, non_blocking=True))
        stacked[key] = torch.stack(maps)
    return stacked
