"""The one value that necks and heads hand on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from mmdense.utils import ShapeError


@dataclass
class DenseFeatures:
    """Features on their way from the backbone to the heads.

    A neck takes one and returns one, so necks of different papers chain.

    Attributes:
        shared (tuple[Tensor, ...]): Maps ``(B, C_i, H_i, W_i)``, fine to coarse.
        per_task (dict): Task name to its own map, or tuple of maps.
        intermediate (dict): Task name to the list of logits ``(B, D, h, w)`` that
            deep supervision trains.
        losses (dict): Name to a scalar that a part wants added to the loss.
        backbone (tuple[Tensor, ...]): The maps as the backbone gave them; necks
            leave them alone. Empty if the features were made by hand.
        image_size (tuple[int, int] | None): Height and width of the network input.
            Decides ``align_corners`` once per forward pass (odd width: DeepLab's
            n*32+1 convention).
        supervised (bool): Whether somebody reads ``intermediate``. False while predicting:
            parts leave out layers that only make supervised logits.
        padding (tuple | None): Left, right, top and bottom padding of every picture, in pixels
            of the input. None: no picture has any, or it is not known.
    """

    shared: tuple[Tensor, ...] = ()
    per_task: dict[str, Any] = field(default_factory=dict)
    intermediate: dict[str, list[Tensor]] = field(default_factory=dict)
    losses: dict[str, Tensor] = field(default_factory=dict)
    backbone: tuple[Tensor, ...] = ()
    image_size: tuple[int, int] | None = None
    supervised: bool = True
    padding: tuple[tuple[int, int, int, int], ...] | None = None

    @property
    def align_corners(self) -> bool:
        """Whether bilinear resizing aligns corners: the input width is odd."""
        return self.image_size is not None and bool(self.image_size[1] % 2)

    def valid_positions(self, like: Tensor) -> Tensor | None:
        """Positions of a map that show the picture, not its padding.

        A position does where the pixel at the centre of its cell does.

        Args:
            like (Tensor): A map ``(B, C, h, w)``, for size and device.

        Returns:
            Tensor | None: ``(B, 1, h, w)`` bool; None if all do.
        """
        if self.padding is None or self.image_size is None:
            return None
        inside = []
        left, right, top, bottom = torch.tensor(self.padding, device=like.device).t()[..., None]
        for axis, (before, after) in ((0, (top, bottom)), (1, (left, right))):
            cells, pixels = like.shape[-2 + axis], self.image_size[axis]
            centers = (torch.arange(cells, device=like.device) + 0.5) * (pixels / cells)
            inside.append((centers > before) & (centers < pixels - after))
        rows, columns = inside
        return (rows[:, :, None] & columns[:, None, :])[:, None]

    def maps_for(self, task: str) -> tuple[Tensor, ...]:
        """The maps a head of ``task`` reads: its own if a neck made some, else the shared ones.

        Raises:
            ShapeError: If there is neither.
        """
        own = self.per_task.get(task)
        if own is not None:
            return own if isinstance(own, tuple) else (own,)
        if not self.shared:
            raise ShapeError(
                f"DenseFeatures holds no map for task '{task}': `shared` is empty and "
                f'`per_task` has {sorted(self.per_task)}. Check the `neck` list of the model.'
            )
        return self.shared

    def replace(self, **changes: Any) -> DenseFeatures:
        """A copy with some attributes exchanged; the rest is shared, not copied."""
        return replace(self, **changes)
