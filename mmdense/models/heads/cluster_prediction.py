"""What a mask transformer says about a picture."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass
class ClusterPrediction:
    """One prediction of a mask-transformer decoder (PolyMaX, section 3).

    Attributes:
        mask_logits (Tensor): ``(B, K, h, w)``; softmax over K is the share of each
            cluster at each pixel (Eq. 2).
        values (Tensor | None): ``(B, K, D)``, one vector per cluster: class logits with
            void last, raw bin centres or raw normals. None where not computed.
        embeddings (Tensor | None): ``(B, E, h, w)``, unit pixel embeddings for the
            instance-discrimination loss. None where not computed.
    """

    mask_logits: Tensor
    values: Tensor | None = None
    embeddings: Tensor | None = None
