"""ATRC with a fixed genotype: what it computes, its start, padding, label maps."""

import json

import pytest
import torch
import torch.nn.functional as F

from mmdense.models.layers import spatial_softmax
from mmdense.models.necks import RelationalContext
from mmdense.models.necks.genotypes import PUBLISHED, read_genotype
from mmdense.models.necks.pair_contexts import Block, PairContexts
from mmdense.structures import DenseFeatures

TASKS = ['semseg', 'depth', 'part']
CHANNELS = dict(semseg=5, depth=1, part=3)
DEPTH_BINS = dict(depth=dict(type='BinnedDepth', num_bins=4))
LEVELS = (8, 16)


def make_neck(genotype, seed=0, **kwargs):
    torch.manual_seed(seed)
    kwargs = dict(auxiliary_tasks=DEPTH_BINS, **kwargs)
    return RelationalContext(LEVELS, TASKS, CHANNELS, genotype, **kwargs)


def features(batch=2, size=(8, 12), padding=None, seed=1, **kwargs):
    generator = torch.Generator().manual_seed(seed)
    height, width = size
    maps = [
        torch.randn(batch, c, height // s, width // s, generator=generator)
        for c, s in zip(LEVELS, (1, 2))
    ]
    image = (4 * height, 4 * width)
    return DenseFeatures(shared=tuple(maps), image_size=image, padding=padding, **kwargs)


def wake(neck):
    """Scales and shifts as training may leave them; new contexts would be silent."""
    torch.manual_seed(2)
    for module in neck.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias)
            torch.nn.init.normal_(module.running_mean, std=0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    return neck


def explicit_block(pairs, block, maps, labels):
    """One context position by position, with the weights of its own place in the stack."""
    owner = pairs.type_of(block).labels_of(block.target, block.source)
    mates = pairs.by_input[block.source, owner]
    source = pairs.sources[block.source if owner is None else f'{block.source}_by_{owner}']
    queries = pairs.queries[block.target]
    read = maps[block.source].flatten(2)
    if owner is not None:
        read = torch.einsum('bkn,bcn->bck', labels[owner], read)
    soft = block.code == 1

    def project(stack, x, index, values=False):
        d = stack.width // len(stack.softplus)
        own = slice(d * index, d * index + d)

        def norm(module, y):
            scale = module.weight[own] / (module.running_var[own] + module.eps).sqrt()
            return (y - module.running_mean[own, None]) * scale[:, None] + module.bias[own, None]

        if values:
            y = stack.first.weight[stack.width :][own, :, 0, 0] @ x
            return norm(stack.value_norm, y).relu()
        y = norm(stack.first_norm, stack.first.weight[own, :, 0, 0] @ x).relu()
        y = norm(stack.second_norm, stack.second.weight[own, :, 0, 0] @ y)
        return F.softplus(y) if soft else y.relu()

    q = project(queries, maps[block.target].flatten(2), pairs.by_target[block.target].index(block))
    k = project(source, read, mates.index(block))
    v = project(source, read, mates.index(block), values=True)
    scores = torch.einsum('bdn,bdm->bnm', q, k)
    if soft:
        weights = scores / scores.sum(2, keepdim=True)
    elif owner is not None:
        weights = (scores / q.shape[1] ** 0.5).softmax(2)
    else:
        height, width = maps[block.source].shape[-2:]
        row, column = torch.arange(height * width) // width, torch.arange(height * width) % width
        near = (row[:, None] - row).abs().le(4) & (column[:, None] - column).abs().le(4)
        e = (scores / q.shape[1] ** 0.5).exp() * near
        # Each of the 81 positions outside the map counts exp(0).
        weights = e / (e.sum(2, keepdim=True) + 81 - near.sum(1)[:, None])
    return torch.einsum('bnm,bdm->bdn', weights, v).view(len(q), -1, *maps[block.target].shape[2:])


@pytest.mark.parametrize('code', [1, 2, 3, 4])
def test_blocks_are_the_explicit_attentions(code):
    """All pairs of three tasks, so that every stack has several members."""
    torch.manual_seed(0)
    blocks = [Block(t, s, code) for t in TASKS for s in TASKS]
    pairs = wake(PairContexts(blocks, 6, 4)).double().eval()
    maps = {task: torch.randn(2, 6, 5, 7).double() for task in TASKS}
    labels = {
        task: spatial_softmax(torch.randn(2, 3 + i, 5, 7).double() * 3)
        for i, task in enumerate(TASKS)
    }
    found = pairs(maps, labels)
    assert set(found) == set(blocks)
    for block in blocks:
        expected = explicit_block(pairs, block, maps, labels)
        torch.testing.assert_close(found[block], expected, atol=1e-12, rtol=0)
    owners = {3: set(TASKS), 4: set(TASKS)}.get(code, set())
    assert pairs.label_owners == owners
    # S-label pools every source once, T-label every pair; the rest reads positions.
    assert len(pairs.by_input) == (9 if code == 3 else 3)


def test_source_and_target_labels_are_one_on_the_diagonal():
    blocks = [Block('semseg', 'semseg', 3), Block('depth', 'semseg', 4)]
    assert len(PairContexts(blocks, 6, 4).by_input) == 1


@pytest.mark.parametrize('genotype', ['all-1', 'all-2', 'all-3', [[3, 4, 0], [0, 0, 0], [1, 2, 3]]])
def test_a_new_network_is_the_baseline_with_one_more_convolution(genotype):
    neck = make_neck(genotype).eval()
    feats = features()
    with torch.no_grad():
        out = neck(feats)
        fused = neck.fusion(feats).shared[0]
        for task in TASKS:
            feature = neck.bottlenecks[task](fused)
            fusion = neck.fusions[task]
            # Of the convolution over contexts and feature, what reads the feature.
            weight = fusion.project.weight[:, -neck.channels :]
            expected = fusion.project_norm(F.conv2d(feature, weight)).relu()
            torch.testing.assert_close(out.per_task[task], expected)
    assert out.shared[0].shape == (2, 24, 8, 12)
    for task, (row, channels) in zip(TASKS, zip(neck.genotype, [6, 6, 6])):
        width = neck.fusions[task].project.in_channels
        assert width == (2 * channels if any(row) else channels)


@pytest.mark.parametrize('genotype', ['all-1', 'all-2', 'all-3', 'all-4'])
@pytest.mark.parametrize('mask', [True, False])
def test_padding_is_seen_only_without_the_mask(genotype, mask):
    """The contexts of the picture, from features that differ in the padding alone."""
    neck = wake(make_neck(genotype, mask_padding=mask)).eval()
    feats = features(padding=((0, 16, 8, 0), (0, 0, 0, 0)))
    valid = feats.valid_positions(feats.shared[0])
    assert valid[0].sum() == 6 * 8 and valid[1].all()
    given = valid if mask else None
    torch.manual_seed(3)
    one = {task: torch.randn(2, 6, 8, 12) for task in TASKS}
    noise = torch.randn(2, 6, 8, 12).masked_fill(valid, 0)
    two = {task: x + 5 * noise for task, x in one.items()}
    logits = {task: torch.randn(2, 4, 8, 12) for task in TASKS}
    other = {task: x + noise[:, :4] for task, x in logits.items()}
    contexts = []
    with torch.no_grad():
        for maps, label_logits in ((one, logits), (two, other)):
            labels = {task: spatial_softmax(x, given) for task, x in label_logits.items()}
            contexts.append(neck.pairs(maps, labels, given))
    for block in neck.blocks:
        a, b = (made[block].masked_fill(~valid, 0) for made in contexts)
        assert torch.equal(a[1], b[1])
        assert torch.allclose(a[0], b[0], atol=1e-6) == mask, block


def test_the_mask_of_the_neck_comes_from_the_padding_of_the_pictures():
    neck = wake(make_neck('all-1')).eval()
    with torch.no_grad():
        plain = neck(features()).per_task['semseg']
        padded = neck(features(padding=((0, 16, 0, 0), (0, 0, 0, 0)))).per_task['semseg']
        neck.mask_padding = False
        ignored = neck(features(padding=((0, 16, 0, 0), (0, 0, 0, 0)))).per_task['semseg']
    assert torch.equal(plain, ignored)
    assert not torch.allclose(plain[0], padded[0], atol=1e-3)
    assert torch.allclose(plain[1], padded[1])


@pytest.mark.parametrize('genotype', ['all-1', 'all-2', 'all-3', 'all-4'])
def test_a_picture_of_padding_only_stays_finite(genotype):
    """As one rank of several may meet; also the gradients."""
    neck = wake(make_neck(genotype))
    out = neck(features(padding=((48, 0, 0, 0), (0, 0, 0, 32))))
    total = sum(x.sum() for x in out.per_task.values())
    total = total + sum(x[0].sum() for x in out.intermediate.values())
    total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in neck.parameters())
    assert all(x.isfinite().all() for x in out.per_task.values())


def test_auxiliary_maps_are_made_where_they_are_read():
    """Of the target of a T-label block and of the source of an S-label block."""
    neck = make_neck([[0, 3, 1], [2, 0, 4], [1, 1, 2]])
    assert list(neck.auxiliary) == ['semseg', 'part']
    out = neck(features())
    assert {key: x[0].shape for key, x in out.intermediate.items()} == dict(
        semseg=(2, 5, 8, 12), part=(2, 3, 8, 12)
    )
    assert not neck(features(supervised=False)).intermediate
    assert not make_neck('all-1').auxiliary
    assert make_neck('all-3').auxiliary['depth'][1].out_channels == 4


def test_auxiliary_losses_train_the_auxiliary_branch_only():
    neck = wake(make_neck('all-3'))
    feats = features()
    leaves = tuple(x.requires_grad_() for x in feats.shared)
    out = neck(feats.replace(shared=leaves))
    sum(x[0].square().sum() for x in out.intermediate.values()).backward()
    trained = {name.split('.')[0] for name, p in neck.named_parameters() if p.grad is not None}
    assert trained == {'auxiliary'} and all(x.grad is None for x in leaves)


def test_other_necks_keep_their_intermediate_predictions():
    feats = features(intermediate={'semseg': [torch.zeros(2, 5, 8, 12)]})
    out = make_neck('all-3')(feats)
    assert len(out.intermediate['semseg']) == 2 and len(out.intermediate['part']) == 1
    assert len(feats.intermediate['semseg']) == 1


def test_one_map_of_another_neck_can_be_read():
    neck = RelationalContext(24, TASKS, CHANNELS, 'all-1')
    out = neck(DenseFeatures(shared=(torch.randn(1, 24, 6, 5),)))
    assert out.per_task['depth'].shape == (1, 6, 6, 5)


def test_context_types_can_be_replaced():
    own = dict(local=dict(type='LocalContext', window=3, border='exclude'))
    neck = make_neck('all-2', contexts=own)
    assert neck.pairs.contexts['local'].window == 3
    with pytest.raises(KeyError, match=r"contexts\['lokal'\].*Did you mean 'local'"):
        make_neck('all-2', contexts=dict(lokal=dict(type='LocalContext')))


def test_published_genotypes():
    nyud = ['semseg', 'depth', 'normal', 'boundary']
    assert read_genotype('nyud-hrnet48', nyud)[1] == (4, 1, 1, 4)
    # By name: turned around with the tasks.
    turned = read_genotype('nyud-hrnet48', nyud[::-1])
    assert turned[2] == (4, 1, 1, 4) and turned[3] == (4, 0, 0, 3)
    for tasks, rows in PUBLISHED.values():
        assert len(rows) == len(tasks) and all(len(row) == len(tasks) for row in rows)
        # Local context is never chosen.
        assert not any(2 in row for row in rows)


def test_ways_to_give_a_genotype(tmp_path):
    rows = ((1, 2), (0, 3))
    assert read_genotype(rows, ['a', 'b']) == rows
    names = [['global', 'local'], ['none', 'target_label']]
    assert read_genotype(names, ['a', 'b']) == rows
    assert read_genotype('all-source_label', ['a', 'b']) == ((4, 4), (4, 4))
    file = tmp_path / 'genotype.json'
    file.write_text(json.dumps(dict(tasks=['b', 'a'], genotype=rows)))
    assert read_genotype(file, ['a', 'b']) == ((3, 0), (2, 1))


@pytest.mark.parametrize(
    ('genotype', 'error', 'message'),
    [
        ('nyud-hrnet18', ValueError, r"of the tasks .*'normal'.* the model has \['semseg'"),
        ('nyud-hrnet', ValueError, "Did you mean 'nyud-hrnet"),
        ('none.json', FileNotFoundError, 'A search writes it'),
        ([[1, 1], [1, 1]], ValueError, r'rows of \[2, 2\] entries, expected 3 rows of 3'),
        ([[1, 5, 1]] * 3, ValueError, r'entry 5; choose a code of 0\.\.4'),
    ],
)
def test_wrong_genotypes_are_named(genotype, error, message):
    with pytest.raises(error, match=message):
        make_neck(genotype)


def test_label_maps_need_classes():
    with pytest.raises(ValueError, match="label maps of task 'depth' would be 1 channel"):
        RelationalContext(LEVELS, TASKS, CHANNELS, 'all-3')
    with pytest.raises(KeyError, match=r"auxiliary_tasks\['normal'\]"):
        extra = dict(DEPTH_BINS, normal=dict(type='CentroidNormal'))
        RelationalContext(LEVELS, TASKS, CHANNELS, 'all-3', auxiliary_tasks=extra)
