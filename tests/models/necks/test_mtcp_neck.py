"""MT-CP's necks as one: published sizes, switches, every parameter in use."""

import copy

import pytest
import torch
from torch import nn

from mmdense.models.necks import MTCPNeck
from mmdense.structures import DenseFeatures

NYUD = dict(semseg=40, depth=1, normal=3)
PASCAL = dict(semseg=21, part=7, saliency=1)
SMALL = dict(semseg=5, depth=1, normal=3)
VARIANTS = {
    'default': dict(),
    'released': dict(released=True),
    'gates': dict(fusion_weights='softmax'),
    'prediction of the fused map': dict(predict_from_cfm=True),
    'recomputed': dict(with_cp=True),
    'wo cfm': dict(with_cfm=False),
    'wo srm': dict(with_srm=False),
    'wo both': dict(with_cfm=False, with_srm=False),
    'stage 1': dict(with_cfm=False, with_srm=False, decoder_output='stage1'),
}


def count(module):
    return sum(p.numel() for p in module.parameters())


def make(tasks=SMALL, channels=16, **options):
    return MTCPNeck(channels, tasks, **options)


def run(neck, size=(12, 17), batch=2, channels=16, supervised=True):
    return neck(DenseFeatures(shared=(torch.randn(batch, channels, *size),), supervised=supervised))


def total_of(feats):
    outputs = [*feats.per_task.values(), *(x for xs in feats.intermediate.values() for x in xs)]
    return sum(x.float().sin().sum() for x in outputs) + sum(feats.losses.values())


@pytest.mark.parametrize(
    ('tasks', 'convs', 'intermediate'),
    [(NYUD, 2, 812_120), (PASCAL, dict(part=1, saliency=1), 542_266)],
    ids=['nyud', 'pascal'],
)
def test_parameters_of_the_parts(tasks, convs, intermediate):
    with torch.device('meta'):
        neck = MTCPNeck(256, tasks, intermediate_convs=convs)
    assert count(neck.decoder) == 3 * 22_323_272
    assert count(neck.pyramid) == 3 * 1_049_600
    assert count(neck.coherence) == 3 * 481_264
    predictors = sum(count(chain.predictors) for chain in neck.refinement.chains.values())
    assert predictors == intermediate
    assert count(neck.refinement) - predictors == 3 * 3_370_040
    for chain in neck.refinement.chains.values():
        steps = [count(step) for step in chain.steps]
        # The last without its way back: 436,728 - 197,376 (1x1 512 -> 256 with norm).
        assert steps == [1_783_064, 1_347_624, 3_370_040 - 1_783_064 - 1_347_624]


def test_parameters_of_the_options():
    with torch.device('meta'):
        plain = count(MTCPNeck(256, NYUD))
        assert count(MTCPNeck(256, NYUD, released=True)) == plain
        assert count(MTCPNeck(256, NYUD, fusion_weights='softmax')) == plain + 4 * 3
        assert count(MTCPNeck(256, NYUD, predict_from_cfm=True)) == plain + 812_120 // 2


@pytest.mark.parametrize('size', [(12, 17), (15, 20)], ids=str)
@pytest.mark.parametrize('tasks', [dict(semseg=5, depth=1), SMALL], ids=['T=2', 'T=3'])
def test_shapes(tasks, size):
    feats = run(make(tasks), size)
    quarter, half = ((-(-size[0] // n), -(-size[1] // n)) for n in (4, 2))
    for task, channels in tasks.items():
        assert feats.per_task[task].shape == (2, 16, *size)
        shapes = [tuple(x.shape) for x in feats.intermediate[task]]
        assert shapes == [(2, channels, *quarter), (2, channels, *half)]


@pytest.mark.parametrize('variant', VARIANTS)
def test_every_parameter_has_a_gradient(variant):
    neck = make(**VARIANTS[variant])
    total_of(run(neck)).backward()
    assert not [name for name, p in neck.named_parameters() if p.grad is None]
    assert all(p.grad.isfinite().all() for p in neck.parameters())


def test_released_preset():
    paper, released = make(), make(released=True)
    assert released.options == dict(main_relu=False, loss_cos=0.0)
    kinds = [isinstance(n.coherence.fusions['depth'].main[-1], nn.ReLU) for n in (paper, released)]
    assert kinds == [True, False]
    assert 'loss_cos' in run(paper).losses and not run(released).losses
    # An option that is named counts.
    assert make(released=True, main_relu=True).options['main_relu'] is True


def test_switched_off_parts_are_absent():
    assert [n for n, _ in make(with_cfm=False).named_children()] == [
        'decoder', 'pyramid', 'refinement'
    ]  # fmt: skip
    feats = run(make(with_srm=False))
    assert not feats.intermediate and feats.losses
    feats = run(make(with_cfm=False, with_srm=False))
    assert not feats.intermediate and not feats.losses
    one = make(dict(depth=1), with_cfm=False, with_srm=False, decoder_output='stage1')
    assert [n for n, _ in one.named_children()] == ['decoder'] and len(one.decoder.channels) == 1


def test_without_both_the_head_reads_the_pyramid():
    neck = make(with_cfm=False, with_srm=False)
    feats = DenseFeatures(shared=(torch.randn(1, 16, 12, 17),))
    want = neck.pyramid(neck.decoder(feats)).per_task['depth'][0]
    assert torch.equal(neck(feats).per_task['depth'], want)


def test_supervision_is_left_out_while_predicting():
    neck = make(predict_from_cfm=True).eval()
    feats = run(neck, supervised=False)
    assert not feats.intermediate and not feats.losses


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(tasks=dict(depth=1)), 'Set with_cfm=False'),
        (dict(decoder_output='stage1'), 'with_cfm=False and with_srm=False'),
        (dict(decoder_output='stage2'), "'stage2'"),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_copies_states_and_a_batch_of_one():
    neck = make().eval()
    other = make().eval()
    other.load_state_dict(neck.state_dict())
    feats = DenseFeatures(shared=(torch.randn(1, 16, 12, 17),))
    wanted = neck(feats).per_task
    for twin in (other, copy.deepcopy(neck)):
        for task, x in twin(feats).per_task.items():
            assert torch.equal(x, wanted[task])
    total_of(neck.train()(feats)).backward()


def test_bfloat16_autocast():
    neck = make(with_cp=True)
    with torch.autocast('cpu', torch.bfloat16):
        feats = run(neck)
    assert feats.losses['loss_cos'].dtype == torch.float32
    total_of(feats).backward()
    assert all(p.grad.isfinite().all() for p in neck.parameters())
