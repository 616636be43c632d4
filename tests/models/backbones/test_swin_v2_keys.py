"""Names of the public releases of Swin V2."""

import re

import pytest
import torch

from mmdense.models.backbones import SwinV2, convert_swin_v2_keys
from mmdense.models.utils import compare_state_dicts

ARCH = dict(embed_dims=8, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8))
CONSTANTS = ('relative_coords_table', 'relative_position_index')


def source():
    model = SwinV2(ARCH, window_size=4)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    for stage in model.stages:
        for block in stage.blocks:
            block.attn.qkv.bias.data.chunk(3)[1].zero_()
    return model


def torchvision_release(state):
    """A classifier of torchvision: flat features, constants beside the weights."""
    renamed = {}
    for key, value in state.items():
        key = re.sub(r'^patch_embed\.proj', 'features.0.0', key)
        key = re.sub(r'^patch_embed\.norm', 'features.0.2', key)
        key = re.sub(r'^stages\.(\d)\.downsample', lambda m: f'features.{2 * int(m[1])}', key)
        key = re.sub(r'^stages\.(\d)\.blocks', lambda m: f'features.{2 * int(m[1]) + 1}', key)
        key = key.replace('mlp.fc1', 'mlp.0').replace('mlp.fc2', 'mlp.3')
        renamed[key.replace('norm3.', 'norm.')] = value
    for constant in CONSTANTS:
        renamed[f'features.1.0.attn.{constant}'] = torch.zeros(3)
    return renamed | {'head.weight': torch.zeros(2, 2), 'head.bias': torch.zeros(2)}


def layered_release(state, merging_at_end):
    """A classifier of the authors (merging at the end of a layer) or of timm (at its start)."""
    renamed = {}
    for key, value in state.items():
        key = re.sub(
            r'^stages\.(\d)\.downsample',
            lambda m: f'layers.{int(m[1]) - merging_at_end}.downsample',
            key,
        )
        key = key.replace('stages.', 'layers.').replace('norm3.', 'norm.')
        if key.endswith('qkv.bias'):
            query, _, value_bias = value.chunk(3)
            renamed[key.replace('qkv.bias', 'q_bias')] = query
            renamed[key.replace('qkv.bias', 'v_bias')] = value_bias
        else:
            renamed[key] = value
    for constant in CONSTANTS:
        renamed[f'layers.0.blocks.0.attn.{constant}'] = torch.zeros(3)
    return renamed | {
        'layers.0.blocks.1.attn_mask': torch.zeros(4),
        'head.weight': torch.zeros(2, 2),
    }


RELEASES = {
    'torchvision': torchvision_release,
    'authors': lambda state: layered_release(state, True),
    'timm': lambda state: layered_release(state, False),
    'backbone': lambda state: {f'backbone.{key}': value for key, value in state.items()},
    'own': dict,
}


@pytest.mark.parametrize('release', RELEASES)
def test_every_weight_finds_its_place(release, tmp_path):
    state = source().state_dict()
    weights = RELEASES[release](state)
    converted = convert_swin_v2_keys(weights)
    assert converted.keys() == state.keys()
    assert all(torch.equal(converted[key], value) for key, value in state.items())
    torch.save(dict(model=weights), tmp_path / 'release.pth')
    init = dict(type='Pretrained', checkpoint=str(tmp_path / 'release.pth'), max_missing=0)
    model = SwinV2(ARCH, window_size=4, init_cfg=init)
    model.init_weights()
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_names_of_torchvision_word_by_word():
    """Keys as they stand in ``swin_v2_t``, with the names they have here."""
    pairs = {
        'features.0.0.weight': 'patch_embed.proj.weight',
        'features.0.2.bias': 'patch_embed.norm.bias',
        'features.1.0.norm1.weight': 'stages.0.blocks.0.norm1.weight',
        'features.1.1.attn.logit_scale': 'stages.0.blocks.1.attn.logit_scale',
        'features.2.reduction.weight': 'stages.1.downsample.reduction.weight',
        'features.2.norm.bias': 'stages.1.downsample.norm.bias',
        'features.5.5.attn.qkv.bias': 'stages.2.blocks.5.attn.qkv.bias',
        'features.5.0.attn.cpb_mlp.0.weight': 'stages.2.blocks.0.attn.cpb_mlp.0.weight',
        'features.5.0.attn.cpb_mlp.2.weight': 'stages.2.blocks.0.attn.cpb_mlp.2.weight',
        'features.6.norm.weight': 'stages.3.downsample.norm.weight',
        'features.7.1.mlp.0.bias': 'stages.3.blocks.1.mlp.fc1.bias',
        'features.7.1.mlp.3.weight': 'stages.3.blocks.1.mlp.fc2.weight',
        'norm.weight': 'norm3.weight',
    }
    converted = convert_swin_v2_keys({key: torch.zeros(1) for key in pairs})
    assert set(converted) == set(pairs.values())
    with torch.device('meta'):
        assert set(pairs.values()) <= set(SwinV2('tiny').state_dict())


def test_fewer_stages_take_the_first_of_a_release():
    state = source().state_dict()
    model = SwinV2(ARCH, window_size=4, out_indices=(0, 1))
    converted = convert_swin_v2_keys(torchvision_release(state))
    report = compare_state_dicts(model, converted)
    assert not report.missing and not report.mismatched
    assert all(name.startswith(('stages.2', 'stages.3', 'norm3')) for name in report.unexpected)


def test_the_first_version_is_refused():
    weights = {'features.1.0.attn.relative_position_bias_table': torch.zeros(169, 3)}
    with pytest.raises(ValueError, match=r"of Swin V1.*type='SwinTransformer'"):
        convert_swin_v2_keys(weights)
