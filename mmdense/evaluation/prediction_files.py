"""Predictions on disk, in the form that published evaluation codes read.

::

    <folder>/<task>/<sample id>.png    labels: class indices, 8 bit
                                       boundaries, saliency: 255 p, truncated, 8 bit
                                       normals: 255 (n + 1) / 2, truncated, 8 bit RGB
    <folder>/<task>/<sample id>.npy    depth, in the unit of the task, and any other map

Every map has the native size of its picture.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.utils import track_iter_progress

from mmdense.datasets.reading import read_map
from mmdense.structures import DenseDataSample
from mmdense.tasks import BaseTask, BinaryTask, LabelTask, Normal
from mmdense.utils import DataError, ShapeError
from mmdense.utils.files import atomic_write_bytes

from .file_protocol import (
    normals_to_uint8,
    probability_to_uint8,
    uint8_to_normals,
    uint8_to_probability,
)
from .metrics.base import map_to_array
from .multi_task_evaluator import MultiTaskEvaluator

Array = np.ndarray


def encode_prediction(task: BaseTask, pred: Array) -> tuple[str, bytes]:
    """A predicted map as the extension and content of its file.

    Args:
        task (BaseTask): The task of the map.
        pred (Array): ``(H, W)`` or ``(H, W, D)``, decoded.
    """
    if isinstance(task, LabelTask):
        return '.png', _png(pred.astype(np.uint8))
    if isinstance(task, BinaryTask):
        return '.png', _png(probability_to_uint8(pred))
    if isinstance(task, Normal):
        return '.png', _png(normals_to_uint8(pred)[..., ::-1])
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(pred))
    return '.npy', buffer.getvalue()


def _png(array: Array) -> bytes:
    done, content = cv2.imencode('.png', np.ascontiguousarray(array))
    if not done:
        raise DataError(f'A map {array.dtype} {array.shape} cannot be encoded as PNG.')
    return content.tobytes()


def write_prediction(folder: str | Path, task: BaseTask, sample_id: str, pred: Array) -> Path:
    """Write one predicted map; returns the file."""
    extension, content = encode_prediction(task, pred)
    path = _path(folder, task, sample_id, extension)
    atomic_write_bytes(path, content)
    return path


def _path(folder: str | Path, task: BaseTask, sample_id: str, extension: str) -> Path:
    return Path(folder) / task.key / f'{sample_id.replace("/", "_")}{extension}'


def read_prediction(folder: str | Path, task: BaseTask, sample_id: str) -> Array | None:
    """A saved map in the conventions of its task; None where there is no file.

    Boundaries and saliency may also be ``.npy`` probabilities, and normals ``.npy`` vectors.

    Raises:
        DataError: If the file cannot be read.
    """
    for extension in ('.png', '.npy'):
        path = _path(folder, task, sample_id, extension)
        if not path.exists():
            continue
        found = read_map(str(path))
        if found.dtype == np.uint8 and isinstance(task, BinaryTask):
            return uint8_to_probability(found)
        if found.dtype == np.uint8 and isinstance(task, Normal):
            return uint8_to_normals(found)
        return found
    return None


def evaluate_files(
    evaluator: MultiTaskEvaluator, dataset: Sequence[Mapping[str, Any]], folder: str | Path
) -> dict[str, float]:
    """Score saved predictions against the ground truth of a data set.

    Args:
        evaluator (MultiTaskEvaluator): Of any profile; its report is filled.
        dataset (Sequence): Yields ``dict(data_samples=DenseDataSample, ...)`` with ground
            truth at the size of the files.
        folder (str | Path): What :class:`SavePredictionsHook` wrote.

    Returns:
        dict[str, float]: ``<task>/<metric>`` to value.

    Raises:
        DataError: If a labelled picture of a task has no file, though others have, or a
            task has none at all.
        ShapeError: If a file and the ground truth differ in size.
    """
    missing: dict[str, list[str]] = {key: [] for key in evaluator.tasks}
    total = len(dataset)
    for index in track_iter_progress((range(total), total)):
        sample: DenseDataSample = dataset[index]['data_samples']
        for key, task in evaluator.tasks.items():
            gt = sample.gt(task)
            if gt is None:
                continue
            pred = read_prediction(folder, task, sample.metainfo['sample_id'])
            if pred is None:
                missing[key].append(sample.metainfo['sample_id'])
            else:
                _attach(sample, task, pred, map_to_array(gt))
        # An incomplete picture only makes the list of the message.
        if not any(ids and ids[-1] == sample.metainfo['sample_id'] for ids in missing.values()):
            evaluator.process([sample])
    lost = {key: ids for key, ids in missing.items() if ids}
    if lost:
        listed = '; '.join(f"{key}: {len(v)}, e.g. '{v[0]}'" for key, v in lost.items())
        raise DataError(
            f'{folder}: labelled pictures without a prediction ({listed}) of {total}. Files are '
            'named <task>/<sample id>.png or .npy. Save all of them, or evaluate fewer tasks.'
        )
    return evaluator.evaluate(total)


def _attach(sample: DenseDataSample, task: BaseTask, pred: Array, gt: Array) -> None:
    if pred.shape != gt.shape:
        raise ShapeError(
            f"{sample.metainfo['sample_id']}: the saved prediction of task '{task.key}' is "
            f'{pred.shape}, the ground truth {gt.shape}. Save predictions at the native size '
            '(model.test_cfg.resize=True), and keep the ground truth at it.'
        )
    chw = pred[None] if pred.ndim == 2 else pred.transpose(2, 0, 1)
    sample.set_pred(task, torch.from_numpy(np.ascontiguousarray(chw)))
