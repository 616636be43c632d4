import pytest
import torch

from mmdense.models.backbones import ConvNeXt, convert_convnext_keys

TINY = dict(depths=(1, 1, 2, 1), channels=(4, 6, 8, 10))


def own_weights():
    torch.manual_seed(0)
    return ConvNeXt(TINY).state_dict()


def authors_name(key: str, depthwise: str = 'dwconv', pointwise: str = 'pwconv') -> str:
    """Our name in the authors' naming, written out part by part."""
    parts = key.split('.')
    if parts[0] == 'stem':
        return f'downsample_layers.0.{parts[1]}.{parts[2]}'
    if parts[2] == 'downsample':
        return f'downsample_layers.{parts[1]}.{parts[3]}.{parts[4]}'
    stage, block, rest = parts[1], parts[3], parts[4:]
    if rest[0] == 'conv_dw':
        rest = [depthwise, rest[1]]
    elif rest[0] == 'mlp':
        rest = [rest[1].replace('fc', pointwise), rest[2]]
    return '.'.join(['stages', stage, block, *rest])


def timm(weights):
    return {**weights, 'head.norm.weight': torch.ones(10), 'head.fc.weight': torch.ones(5, 10)}


def timm_with_1x1_convolutions(weights):
    return {k: v[:, :, None, None] if 'mlp' in k and v.ndim == 2 else v for k, v in weights.items()}


def authors(weights):
    renamed = {authors_name(key): value for key, value in weights.items()}
    return {**renamed, 'norm.weight': torch.ones(10), 'head.weight': torch.ones(5, 10)}


def openmmlab(weights, prefix='backbone.'):
    renamed = {
        prefix + authors_name(key, 'depthwise_conv', 'pointwise_conv'): value
        for key, value in weights.items()
    }
    return {**renamed, prefix + 'norm3.weight': torch.ones(10), 'head.fc.weight': torch.ones(5, 10)}


def openmmlab_without_prefix(weights):
    return openmmlab(weights, prefix='')


@pytest.mark.parametrize(
    'release', [timm, timm_with_1x1_convolutions, authors, openmmlab, openmmlab_without_prefix]
)
def test_every_naming_comes_back_to_ours(release):
    own = own_weights()
    converted = convert_convnext_keys(release(own))
    assert set(converted) == set(own)
    assert all(torch.equal(converted[key], own[key]) for key in own)


def test_names_of_the_releases_are_as_published():
    own = own_weights()
    assert {
        'downsample_layers.0.0.weight',
        'downsample_layers.1.0.weight',
        'stages.2.1.dwconv.weight',
        'stages.2.1.pwconv1.bias',
        'stages.2.1.gamma',
    } <= set(authors(own))
    assert 'backbone.stages.2.1.pointwise_conv2.weight' in openmmlab(own)


def test_version_two_is_refused():
    with pytest.raises(ValueError, match='ConvNeXt V2'):
        convert_convnext_keys({'stages.0.0.grn.gamma': torch.ones(1)})
