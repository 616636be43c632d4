"""Deformable mixers: order, depth, and their place behind other necks."""

import pytest
import torch
import torch.nn.functional as F

from mmdense.models.necks import DeformableMixer
from mmdense.structures import DenseFeatures
from mmdense.utils import ShapeError

TASKS = ['semseg', 'depth', 'normal']


def mixer(**kwargs):
    torch.manual_seed(0)
    neck = DeformableMixer(8, TASKS, **kwargs)
    for p in neck.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return neck.eval()


@pytest.mark.parametrize('depth', [1, 3])
@pytest.mark.parametrize('order', ['channel_first', 'spatial_first'])
def test_blocks_in_order(order, depth):
    neck = mixer(mixer_order=order, depth=depth)
    x = torch.randn(2, 8, 6, 7)
    out = neck(DenseFeatures(shared=(x,)))
    assert list(out.per_task) == TASKS and out.shared[0] is x
    expected = x
    blocks = neck.mixers['depth']
    assert len(blocks) == depth
    for block in blocks:

        def step(branch, y):
            return branch.norm(F.gelu(branch.conv(y)))

        if order == 'channel_first':
            expected = step(block.channel, expected)
            expected = expected + step(block.spatial, expected)
        else:
            expected = step(block.channel, expected + step(block.spatial, expected))
    torch.testing.assert_close(out.per_task['depth'], expected)


def test_every_task_has_its_own_weights_and_map():
    neck = mixer()
    shared, own = torch.randn(1, 8, 5, 5), torch.randn(1, 8, 5, 5)
    out = neck(DenseFeatures(shared=(shared,), per_task={'depth': (own, shared)}))
    alone = neck.mixers['depth'](own)
    torch.testing.assert_close(out.per_task['depth'], alone)
    torch.testing.assert_close(out.per_task['normal'], neck.mixers['normal'](shared))


def test_recomputation_changes_neither_gradients_nor_statistics():
    found = []
    for with_cp in (False, True):
        neck = mixer(with_cp=with_cp, depth=2).train()
        torch.manual_seed(1)
        x = torch.randn(2, 8, 6, 7, requires_grad=True)
        out = neck(DenseFeatures(shared=(x,))).per_task
        sum(y.square().sum() for y in out.values()).backward()
        found.append([x.grad, *(p.grad for p in neck.parameters()), *neck.buffers()])
    torch.testing.assert_close(found[1], found[0])


def test_wrong_options_and_shapes_are_one_clear_error():
    with pytest.raises(ValueError, match="mixer_order is 'both'"):
        DeformableMixer(8, TASKS, mixer_order='both')
    with pytest.raises(ValueError, match='depth is 0'):
        DeformableMixer(8, TASKS, depth=0)
    with pytest.raises(ValueError, match=r"tasks is \['depth', 'depth'\]"):
        DeformableMixer(8, ['depth', 'depth'])
    with pytest.raises(ShapeError, match='has 4 channels'):
        mixer()(DenseFeatures(shared=(torch.zeros(1, 4, 5, 5),)))
    with pytest.raises(ShapeError, match='reads map 1 of task'):
        mixer(in_index=1)(DenseFeatures(shared=(torch.zeros(1, 8, 5, 5),)))
