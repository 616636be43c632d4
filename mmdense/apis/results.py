"""What comes out of an inferencer."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mmdense.structures import DenseMap

Array = np.ndarray


@dataclass
class RawMap:
    """What a network says about one task before it is decoded.

    Attributes:
        prediction (Array): ``(C, h, w)`` float32 at the size of the network's input without its
            padding: logits of classes and of probabilities, else the values that losses see.
        shares (dict[str, Array]): Name to maps ``(K, h', w')`` that sum to 1 over K, such as
            ``clusters``, on the grid of the head, padding cut off.
        meanings (dict[str, Array]): Name to what each of these stands for, ``(K, D)``.
    """

    prediction: Array
    shares: dict[str, Array] = field(default_factory=dict)
    meanings: dict[str, Array] = field(default_factory=dict)


@dataclass
class Prediction:
    """Everything about one picture.

    Attributes:
        name (str): What the picture is called: its path, or its place in the inputs.
        index (int): Its place, from 0.
        maps (dict[str, DenseMap] | None): Task key to map at the size of the picture. None if the
            picture was refused.
        error (str | None): Why it was refused.
        image (Array | None): The picture, uint8 ``(H, W, 3)``, RGB.
        intrinsics (Array | None): Its camera matrix ``(3, 3)``, where known.
        raw (dict[str, RawMap] | None): With ``return_raw``.
        panel (Array | None): The picture and its maps side by side, with ``return_panel``.
        files (list[Path]): What was written.
    """

    name: str
    index: int
    maps: dict[str, DenseMap] | None = None
    error: str | None = None
    image: Array | None = None
    intrinsics: Array | None = None
    raw: dict[str, RawMap] | None = None
    panel: Array | None = None
    files: list[Path] = field(default_factory=list)
