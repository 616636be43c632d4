"""Key names of Mask2Former checkpoints."""

from __future__ import annotations

import re

from torch import Tensor

# Names before mmdet 3 took DETR apart, to those after.
_OLD = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r'(pixel_decoder\.encoder\.layers\.\d+)\.attentions\.0\.', r'\1.self_attn.'),
        # Cross-attention came first in a layer, so it is number 0.
        (r'(transformer_decoder\.layers\.\d+)\.attentions\.0\.', r'\1.cross_attn.'),
        (r'(transformer_decoder\.layers\.\d+)\.attentions\.1\.', r'\1.self_attn.'),
        (r'((?:encoder|transformer_decoder)\.layers\.\d+)\.ffns\.0\.', r'\1.ffn.'),
    )
)


def convert_mask2former_keys(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Bring the weights of a ``Mask2FormerHead`` of mmseg or mmdet to today's names.

    Weights in today's names pass as they are. The class layer is left out: nothing here reads
    class scores.

    Args:
        state_dict (dict[str, Tensor]): Weights, with or without the prefix ``decode_head.``.

    Returns:
        dict[str, Tensor]: The same weights under today's names.

    Example:
        >>> name = 'transformer_decoder.layers.0.attentions.0.attn.in_proj_bias'
        >>> list(convert_mask2former_keys({name: Tensor()}))
        ['transformer_decoder.layers.0.cross_attn.attn.in_proj_bias']
    """
    converted: dict[str, Tensor] = {}
    for key, value in state_dict.items():
        if re.search(r'(?:^|\.)cls_embed\.', key):
            continue
        for pattern, replacement in _OLD:
            key = pattern.sub(replacement, key)
        converted[key] = value
    return converted
