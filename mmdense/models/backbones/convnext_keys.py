"""Key names of the public ConvNeXt releases."""

from __future__ import annotations

import re

from torch import Tensor

# One rule per naming, first match wins. Our own naming is that of timm.
_RULES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r'^downsample_layers\.0\.(\d)\.', r'stem.\1.'),
        (r'^downsample_layers\.(\d)\.(\d)\.', r'stages.\1.downsample.\2.'),
        (r'^stages\.(\d)\.(\d+)\.(?:dwconv|depthwise_conv)\.', r'stages.\1.blocks.\2.conv_dw.'),
        (
            r'^stages\.(\d)\.(\d+)\.(?:pwconv|pointwise_conv)(\d)\.',
            r'stages.\1.blocks.\2.mlp.fc\3.',
        ),
        (r'^stages\.(\d)\.(\d+)\.(norm\.|gamma$)', r'stages.\1.blocks.\2.\3'),
    )
)


def convert_convnext_keys(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of a public ConvNeXt release to the names of :class:`ConvNeXt`.

    Knows three namings and leaves our own (which is the first) as it is:

    - timm: ``stem.N``, ``stages.N.downsample.N``, ``stages.N.blocks.N.conv_dw / norm /
      mlp.fc1 / mlp.fc2 / gamma``;
    - the authors': ``downsample_layers.N.N``, ``stages.N.N.dwconv / norm / pwconv1 /
      pwconv2 / gamma``;
    - OpenMMLab pretraining: as the authors', with ``depthwise_conv`` and
      ``pointwise_conv1``.

    A ``backbone.`` prefix is removed. Classifiers, heads and output norms are left out.
    Pointwise layers stored as 1x1 convolutions become linear ones.

    Args:
        state_dict (dict[str, Tensor]): Weights of a release.

    Returns:
        dict[str, Tensor]: Weights in the naming of :class:`ConvNeXt`.

    Raises:
        ValueError: If the weights are of ConvNeXt V2 (with response normalisation).
    """
    if any(key.startswith('backbone.') for key in state_dict):
        state_dict = {
            key.removeprefix('backbone.'): value
            for key, value in state_dict.items()
            if key.startswith('backbone.')
        }
    converted: dict[str, Tensor] = {}
    for key, value in state_dict.items():
        if '.grn.' in key:
            raise ValueError(
                f"ConvNeXt: the checkpoint has the key '{key}', so it is of ConvNeXt V2; expected "
                'version 1, without response normalisation. Choose a `convnext_*` release.'
            )
        _convert_one(key, value, converted)
    return converted


def _convert_one(key: str, value: Tensor, converted: dict[str, Tensor]) -> None:
    for pattern, replacement in _RULES:
        key, found = pattern.subn(replacement, key)
        if found:
            break
    if not key.startswith(('stem.', 'stages.')):
        return
    if '.mlp.fc' in key and value.ndim == 4:
        value = value.flatten(1)
    converted[key] = value
