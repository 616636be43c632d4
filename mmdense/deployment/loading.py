"""Exported networks as functions of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmdense.utils import ShapeError, suggest
from mmdense.utils.lazy import require

from .exporting import ExportError
from .metadata import INPUT, INSTALL, read_record

Array = np.ndarray


class ExportedModel:
    """A network that was exported to a file.

    ``model = ExportedModel('x.onnx'); maps = model(images)``. Files of both formats behave
    alike. An ONNX file runs without mmdense, too: ``tools/deployment/run_onnx.py``.

    Args:
        path (str | Path): ``.onnx`` (runs in onnxruntime) or ``.pt2`` (runs in PyTorch).
        providers (Sequence[str]): Execution providers of onnxruntime, best first.
        threads (int): Threads of onnxruntime; 0: its own choice.

    Attributes:
        record (dict): What the file says about itself.

    Raises:
        ConfigError: If the file is missing or mmdense did not write it.
        MissingDependencyError: If onnxruntime is missing and needed.
    """

    def __init__(
        self,
        path: str | Path,
        providers: Sequence[str] = ('CPUExecutionProvider',),
        threads: int = 0,
    ) -> None:
        self.path = Path(path)
        self.record = read_record(path)
        if 'input' not in self.record:
            raise ValueError(
                f'{path} holds weights, not a network. Load it with init_model(CONFIG, {path!r}).'
            )
        self._run = (
            _graph(str(path), providers, threads) if self.path.suffix == '.onnx' else _program(path)
        )

    def __call__(self, images: Array) -> dict[str, Array]:
        """Predict.

        Args:
            images (Array): ``(B, 3, H, W)``, RGB, grey levels 0..255, of any type of number.

        Returns:
            dict[str, Array]: Task key to ``(B, D, H, W)``.

        Raises:
            ShapeError: If the network was not made for that shape.
            ExportError: If the graph turns out not to take it all the same.
        """
        self._check(images.shape)
        return self._run(np.ascontiguousarray(images, dtype=np.float32))

    def _check(self, shape: tuple[int, ...]) -> None:
        asked = self.record['input']
        size, free = tuple(asked['shape']), asked['dynamic']
        batch = 'B' if 'batch' in free else '1'
        wanted = f'({batch}, 3, {size[0]}, {size[1]})'
        fits = len(shape) == 4 and shape[1] == 3
        fits = fits and ('batch' in free or shape[0] == 1)
        if 'size' in free:
            step, remainder = asked['size_rule']
            wanted = f'({batch}, 3, H, W) with sides n * {step} + {remainder}'
            fits = fits and all((side - remainder) % step == 0 for side in shape[2:])
        else:
            fits = fits and shape[2:] == size
        if not fits:
            raise ShapeError(
                f'{self.path}: images are {shape}, the network takes {wanted}. Resize or pad the '
                'picture, or export with another --shape or --dynamic.'
            )


def _graph(path: str, providers: Sequence[str], threads: int) -> Any:
    runtime = require('onnxruntime', f'running {path}', INSTALL)
    known = runtime.get_available_providers()
    for provider in providers:
        if provider not in known:
            raise ValueError(f'ExportedModel: provider {provider!r}. {suggest(provider, known)}')
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    session = runtime.InferenceSession(path, options, providers=list(providers))
    names = [output.name for output in session.get_outputs()]

    errors = require('onnxruntime.capi.onnxruntime_pybind11_state', f'running {path}', INSTALL)
    refusals = (errors.Fail, errors.InvalidArgument, errors.RuntimeException)

    def run(images: Array) -> dict[str, Array]:
        try:
            return dict(zip(names, session.run(names, {INPUT: images})))
        except refusals as error:
            raise ExportError(
                f'{path}: onnxruntime cannot run it on images of {images.shape}: {error}. A size '
                'that was to be left free is fixed inside the graph; export with fewer --dynamic.'
            ) from error

    return run


def _program(path: str | Path) -> Any:
    module = torch.export.load(str(path)).module()

    def run(images: Array) -> dict[str, Array]:
        with torch.no_grad():
            maps = module(torch.from_numpy(images))
        return {key: value.numpy() for key, value in maps.items()}

    return run
