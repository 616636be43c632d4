"""HRNet and Swin by name: maps, settings, and weights of other namings."""

import pytest
import torch
from mmseg.models.utils.embed import PatchMerging
from torch import nn

from mmdense.models.backbones import HRNet, SwinTransformer, convert_swin_keys
from mmdense.models.utils import compare_state_dicts

SIZE = (65, 97)


@pytest.mark.parametrize('kind', [HRNet, SwinTransformer])
def test_maps_round_up(kind):
    model = kind().eval()
    with torch.no_grad():
        maps = model(torch.randn(1, 3, *SIZE))
    assert isinstance(maps, (tuple, list))
    for x, c, s in zip(maps, model.channels, model.strides):
        assert x.shape == (1, c, *(-(-n // s) for n in SIZE))


def test_small_hrnet_has_two_blocks_everywhere():
    with torch.device('meta'):
        model = HRNet('w18-small')
    assert len(model.layer1) == 2
    assert [len(model.stage2), len(model.stage3), len(model.stage4)] == [1, 3, 2]
    branches = [
        len(branch) for stage in (model.stage2, model.stage4) for branch in stage[0].branches
    ]
    assert branches == [2] * 6


def test_swin_settings():
    with torch.device('meta'):
        model = SwinTransformer('base')
    blocks = [block for stage in model.stages for block in stage.blocks]
    assert [len(stage.blocks) for stage in model.stages] == [2, 2, 18, 2]
    assert {block.attn.window_size for block in blocks} == {7}
    rates = [block.attn.drop.drop_prob for block in blocks]
    assert rates == pytest.approx([0.1 * i / 23 for i in range(24)])
    assert [getattr(model, f'norm{i}').normalized_shape[0] for i in range(4)] == [
        128,
        256,
        512,
        1024,
    ]


@pytest.mark.parametrize(('kind', 'known'), [(HRNet, 'w18-small'), (SwinTransformer, 'tiny')])
def test_unknown_names_are_one_clear_error(kind, known):
    with pytest.raises(ValueError, match=f'{kind.__name__}.arch is .* Known: .*{known}'):
        kind('huge')


def test_swin_starts_with_small_weights_and_position_biases():
    model = SwinTransformer()
    model.init_weights()
    table = model.stages[0].blocks[0].attn.w_msa.relative_position_bias_table
    assert 0.015 < table.std() < 0.02 and table.abs().max() <= 0.04
    linears = [m for m in model.modules() if isinstance(m, nn.Linear)]
    assert all(0.015 < m.weight.std() < 0.02 for m in linears)
    assert not any(m.bias.any() for m in linears if m.bias is not None)


def test_pretrained_swin_is_not_initialised_over(tmp_path):
    source = SwinTransformer()
    for p in source.parameters():
        nn.init.normal_(p)
    path = tmp_path / 'swin.pth'
    torch.save(dict(state_dict={f'backbone.{k}': v for k, v in source.state_dict().items()}), path)
    model = SwinTransformer(init_cfg=dict(type='Pretrained', checkpoint=str(path)))
    model.init_weights()
    state = model.state_dict()
    assert all(torch.equal(state[k], v) for k, v in source.state_dict().items())


AUTHORS = (
    ('patch_embed.projection', 'patch_embed.proj'),
    ('.attn.w_msa.', '.attn.'),
    ('.ffn.layers.0.0.', '.mlp.fc1.'),
    ('.ffn.layers.1.', '.mlp.fc2.'),
    ('stages.', 'layers.'),
)


def as_authors(state):
    """A classification release of the authors: their names, a head, masks, no output norms."""
    renamed = {}
    for key, value in state.items():
        if key.startswith('norm'):
            continue
        for ours, theirs in AUTHORS:
            key = key.replace(ours, theirs)
        renamed[key] = value
    extra = {'head.weight': torch.zeros(2, 2), 'norm.weight': torch.zeros(2)}
    return {**renamed, **extra, 'layers.0.blocks.1.attn_mask': torch.zeros(4)}


def test_names_of_the_authors_are_known():
    with torch.device('meta'):
        model = SwinTransformer()
    released = {k: torch.empty(v.shape) for k, v in as_authors(model.state_dict()).items()}
    converted = convert_swin_keys({f'backbone.{k}': v for k, v in released.items()})
    report = compare_state_dicts(model, converted, drop=[r'^norm\d\.'])
    assert not report.missing and not report.unexpected and not report.mismatched
    assert len(report.dropped) == 8
    ours = dict(model.state_dict())
    assert convert_swin_keys(ours) == ours


def test_patches_merge_as_in_the_authors_code():
    norm, reduction = nn.LayerNorm(12), nn.Linear(12, 6, bias=False)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = torch.randn(2, 4, 6, 3)
    quarters = [x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)]
    expected = reduction(norm(torch.cat(quarters, -1))).flatten(1, 2)
    weights = {
        f'layers.0.downsample.{name}': value
        for name, value in nn.ModuleDict(dict(norm=norm, reduction=reduction)).state_dict().items()
    }
    converted = convert_swin_keys(weights)
    merging = PatchMerging(3, 6)
    merging.load_state_dict(
        {k.removeprefix('stages.0.downsample.'): v for k, v in converted.items()}
    )
    torch.testing.assert_close(merging(x.flatten(1, 2), (4, 6))[0], expected)
