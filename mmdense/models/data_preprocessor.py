"""From pictures of a batch to one normalised tensor, on the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from mmdense.registry import MODELS
from mmdense.structures import DenseDataSample
from mmdense.tasks import build_tasks
from mmdense.utils import ShapeError
from mmdense.utils.padding import padding_of

Size = tuple[int, int]


@MODELS.register_module()
class DenseDataPreprocessor(BaseDataPreprocessor):
    """Normalise, pad and stack the pictures of a batch.

    Pictures may differ in size: all are padded to the largest height and width, rounded
    up to the size rule. Padding is exactly 0 after normalisation, also that of
    :class:`~mmdense.datasets.transforms.TaskAwarePad`. In training the ground truth is
    moved to the device and padded alike, with each task's value for unknown. In testing
    it stays where and as it is, native in size, for the metrics.

    The default normalisation is that of kMaX-DeepLab, ``img / 127.5 - 1``. For ImageNet's:
    ``mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)``.

    Args:
        tasks (Mapping): Task name to config or built task.
        mean (float | Sequence[float]): Per channel, grey levels 0..255, RGB.
        std (float | Sequence[float]): Per channel.
        bgr_to_rgb (bool): Whether the incoming pictures are BGR. Pipelines of mmdense
            deliver RGB.
        size (tuple[int, int] | None): Fixed height and width in place of the largest of
            the batch.
        size_divisor (int): Heights and widths become n * ``size_divisor`` +
            ``size_remainder``.
        size_remainder (int): 1 with divisor 32 gives DeepLab's sizes n * 32 + 1.
        pad_mode (str): Where a picture goes: ``'corner'`` (top left) or ``'center'``.
        non_blocking (bool): Whether copies to the device may overlap with the host.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        tasks: Mapping[str, Any],
        mean: float | Sequence[float] = 127.5,
        std: float | Sequence[float] = 127.5,
        bgr_to_rgb: bool = False,
        size: Size | None = None,
        size_divisor: int = 1,
        size_remainder: int = 0,
        pad_mode: str = 'corner',
        non_blocking: bool = True,
    ) -> None:
        super().__init__(non_blocking=non_blocking)
        if not 0 <= size_remainder < size_divisor:
            raise ValueError(
                f'DenseDataPreprocessor: size_divisor={size_divisor}, size_remainder='
                f'{size_remainder}; need 0 <= remainder < divisor, for example 32 and 1.'
            )
        if pad_mode not in ('corner', 'center'):
            raise ValueError(
                f"DenseDataPreprocessor: `pad_mode` is {pad_mode!r}; choose 'corner' or 'center'."
            )
        self.tasks = build_tasks(tasks)
        self.bgr_to_rgb = bgr_to_rgb
        self.size = None if size is None else (int(size[0]), int(size[1]))
        self.size_divisor = size_divisor
        self.size_remainder = size_remainder
        self.pad_mode = pad_mode
        self.register_buffer('mean', self._per_channel('mean', mean), persistent=False)
        self.register_buffer('std', self._per_channel('std', std), persistent=False)
        if min([std] if isinstance(std, int | float) else std) <= 0:
            raise ValueError(f'DenseDataPreprocessor: `std` is {std}; it must be positive.')

    @staticmethod
    def _per_channel(name: str, value: float | Sequence[float]) -> Tensor:
        values = torch.as_tensor(value, dtype=torch.float32).flatten()
        if values.numel() not in (1, 3):
            raise ValueError(
                f'DenseDataPreprocessor: `{name}` has {values.numel()} values; give 1 or 3 (RGB).'
            )
        return values.expand(3).clone().view(3, 1, 1)

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Preprocess a batch.

        Args:
            data (dict): ``inputs``: uint8 ``(3, H, W)`` tensors, or one ``(B, 3, H, W)``;
                ``data_samples``: their samples, or None.
            training (bool): Whether ground truth is padded too.

        Returns:
            dict: ``inputs`` float ``(B, 3, H, W)``; ``data_samples`` with ``pad_shape``
            (the input size) and ``padding_size`` (left, right, top, bottom) set.

        Raises:
            ShapeError: If a picture is not ``(3, H, W)``, or larger than ``size``.
        """
        images: Sequence[Tensor] = data['inputs']
        samples: list[DenseDataSample] | None = data.get('data_samples')
        for image in images:
            if image.ndim != 3 or image.shape[0] != 3:
                raise ShapeError(
                    f'DenseDataPreprocessor: a picture is {tuple(image.shape)}, expected '
                    '(3, H, W). End the pipeline with PackDenseInputs.'
                )
        sizes = [(image.shape[-2], image.shape[-1]) for image in images]
        target = self.target_size(sizes)
        paddings = [padding_of(size, target, self.pad_mode) for size in sizes]
        # Padding comes out as (mean - mean) / std, exactly 0, in one pass over the batch.
        batch = self.mean.expand(len(images), 3, *target).clone()
        metas = [{} for _ in images] if samples is None else [s.metainfo for s in samples]
        for slot, image, padding, meta in zip(batch, images, paddings, metas):
            _place(slot, self._on_device(image), padding, meta.get('padding_size', (0, 0, 0, 0)))
        batch = batch.sub_(self.mean).div_(self.std)
        if samples is not None:
            # New samples: the given ones stay as they are and can be preprocessed again.
            samples = [
                self._finish(sample.new(), padding, target, training)
                for sample, padding in zip(samples, paddings)
            ]
        return dict(inputs=batch, data_samples=samples)

    def target_size(self, sizes: Sequence[Size]) -> Size:
        """Height and width of the batch for pictures of ``sizes``.

        Raises:
            ShapeError: If a picture does not fit into the fixed ``size``.
        """
        height, width = (max(sides) for sides in zip(*sizes))
        if self.size is None:
            return self._round_up(height), self._round_up(width)
        if height > self.size[0] or width > self.size[1]:
            raise ShapeError(
                f'DenseDataPreprocessor: a picture of {height}x{width} does not fit into size='
                f'{self.size}. Resize or crop in the pipeline, or leave `size` out.'
            )
        return self.size

    def _round_up(self, side: int) -> int:
        steps = -(-(side - self.size_remainder) // self.size_divisor)
        return max(steps, 0) * self.size_divisor + self.size_remainder

    def _on_device(self, image: Tensor) -> Tensor:
        # Moved as uint8, a quarter of the bytes; the flip and the cast happen on the device.
        image = image.to(self.mean.device, non_blocking=self._non_blocking)
        return image.flip(0) if self.bgr_to_rgb else image

    def _finish(
        self,
        sample: DenseDataSample,
        padding: tuple[int, int, int, int],
        target: Size,
        training: bool,
    ) -> DenseDataSample:
        """Write the padding into the sample and, in training, into its ground truth."""
        meta = sample.metainfo
        before = meta.get('padding_size', (0, 0, 0, 0))
        total = tuple(a + b for a, b in zip(before, padding))
        changes: dict[str, Any] = dict(pad_shape=target, padding_size=total)
        if 'intrinsics' in meta and (padding[0] or padding[2]):
            intrinsics = meta['intrinsics'].copy()
            intrinsics[0, 2] += padding[0]
            intrinsics[1, 2] += padding[2]
            changes['intrinsics'] = intrinsics
        sample.set_metainfo(changes)
        for task in self.tasks.values() if training else ():
            gt = sample.gt(task)
            if gt is None:
                continue
            gt = gt.to(self.mean.device, non_blocking=self._non_blocking)
            if any(padding):
                gt = F.pad(gt, padding, value=task.ignore_value)
            sample.set_gt(task, gt)
        return sample


def _place(
    slot: Tensor,
    image: Tensor,
    padding: tuple[int, int, int, int],
    inner: tuple[int, int, int, int],
) -> None:
    """Copy the picture without its own padding ``inner`` into ``slot`` ``(3, H, W)``."""
    left, right, top, bottom = inner
    height, width = image.shape[-2:]
    content = image[:, top : height - bottom, left : width - right]
    row, col = padding[2] + top, padding[0] + left
    slot[:, row : row + content.shape[1], col : col + content.shape[2]].copy_(content)
