"""Key names of the public Swin V2 releases."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

_CONSTANTS = ('relative_coords_table', 'relative_position_index', 'attn_mask')
_TORCHVISION = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r'^features\.0\.0\.', 'patch_embed.proj.'),
        (r'^features\.0\.2\.', 'patch_embed.norm.'),
        (r'\.mlp\.0\.', '.mlp.fc1.'),
        (r'\.mlp\.3\.', '.mlp.fc2.'),
    )
)


def convert_swin_v2_keys(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of a public Swin V2 release to the names of :class:`SwinV2`.

    Knows three namings, and leaves our own (``stages.N.blocks.N``) as it is:

    - torchvision: ``features.0`` the patches, ``features.1, 3, 5, 7`` the stages,
      ``features.2, 4, 6`` the mergings between them, ``norm`` behind the last;
    - the authors': ``layers.N.blocks.N``, the merging at the end of the stage before it, biases
      of queries and values apart;
    - timm: as the authors', with the merging at the start of its stage.

    All of them merge patches in the same order, which is ours too. Constants (offsets,
    indices, masks) and classifiers are left out; a ``backbone.`` prefix is removed.

    Args:
        state_dict (Mapping[str, Tensor]): Weights of a release.

    Returns:
        dict[str, Tensor]: Weights in the naming of :class:`SwinV2`.

    Raises:
        ValueError: If the weights are of the first version of Swin.
    """
    weights = {
        key.removeprefix('backbone.'): value
        for key, value in state_dict.items()
        if not key.endswith(_CONSTANTS) and not key.removeprefix('backbone.').startswith('head.')
    }
    if any(key.endswith('relative_position_bias_table') for key in weights):
        raise ValueError(
            'SwinV2: the weights are of Swin V1, which has a table of position biases in place of '
            "a network. Take a V2 release, or the backbone type='SwinTransformer'."
        )
    if any(key.startswith('features.') for key in weights):
        weights = {_from_torchvision(key): value for key, value in weights.items()}
    elif any(key.startswith('layers.') for key in weights):
        at_end = any(key.startswith('layers.0.downsample.') for key in weights)
        weights = {_from_layers(key, at_end): value for key, value in weights.items()}
        weights = _join_biases(weights)
    stages = [int(key.split('.')[1]) for key in weights if key.startswith('stages.')]
    last = f'norm{max(stages, default=0)}.'
    return {re.sub(r'^norm\.', last, key): value for key, value in weights.items()}


def _from_torchvision(key: str) -> str:
    for pattern, replacement in _TORCHVISION:
        key = pattern.sub(replacement, key)
    part = re.match(r'features\.(\d+)\.', key)
    if part is None:
        return key
    number, rest = int(part[1]), key[part.end() :]
    # 1, 3, 5, 7 are the stages 0 to 3; 2, 4, 6 lead to the stages 1 to 3.
    return f'stages.{number // 2}.{"blocks" if number % 2 else "downsample"}.{rest}'


def _from_layers(key: str, merging_at_end: bool) -> str:
    def stage(match: re.Match[str]) -> str:
        return f'stages.{int(match[1]) + merging_at_end}.downsample.'

    key = re.sub(r'^layers\.(\d+)\.downsample\.', stage, key)
    return re.sub(r'^layers\.', 'stages.', key)


def _join_biases(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``q_bias`` and ``v_bias`` as one ``qkv.bias``, with zeros for the keys."""
    joined = {}
    for key, value in weights.items():
        if key.endswith('.q_bias'):
            stem = key.removesuffix('q_bias')
            parts = [value, torch.zeros_like(value), weights[f'{stem}v_bias']]
            joined[f'{stem}qkv.bias'] = torch.cat(parts)
        elif not key.endswith('.v_bias'):
            joined[key] = value
    return joined
