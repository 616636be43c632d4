import copy

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from mmdense.models.predictors import DensePredictor
from mmdense.models.predictors.dense_predictor import _resize_map
from mmdense.registry import BALANCERS, MODELS
from mmdense.structures import DenseDataSample, DenseFeatures
from mmdense.utils import ShapeError


class TinyBackbone(torch.nn.Module):
    """Two maps at strides 4 and 8; enough to exercise the predictor."""

    def __init__(self):
        super().__init__()
        self.one = torch.nn.Conv2d(3, 8, 4, stride=4)
        self.two = torch.nn.Conv2d(8, 16, 2, stride=2)

    def forward(self, x):
        fine = self.one(x)
        return fine, self.two(fine)


class TupleNeck(torch.nn.Module):
    """A neck in the family's tuple-in, tuple-out form."""

    def forward(self, maps):
        return tuple(2 * m for m in maps)


class TermNeck(torch.nn.Module):
    """A neck of this library that adds a loss and a deeply supervised prediction."""

    takes_features = True

    def __init__(self):
        super().__init__()
        self.initial = torch.nn.Conv2d(8, 1, 1)

    def forward(self, feats):
        logits = self.initial(feats.shared[0])
        term = {'neck.loss_term': logits.pow(2).mean()}
        return feats.replace(losses=term, intermediate={'depth': [logits]})


class TaskBackbone(nn.Module):
    """A backbone with one map per task, and logits for deep supervision where wanted."""

    takes_tasks = True

    def __init__(self, tasks):
        super().__init__()
        self.convs = nn.ModuleDict({key: nn.Conv2d(3, 8, 4, 4) for key in tasks})

    def forward(self, x):
        return DenseFeatures(per_task={key: conv(x) for key, conv in self.convs.items()})


class ChannelNeck(nn.Module):
    """A neck that wants to know what the heads predict."""

    takes_features = True
    takes_task_channels = True

    def __init__(self, task_channels):
        super().__init__()
        self.task_channels = task_channels

    def forward(self, feats):
        return feats


for module in (TinyBackbone, TupleNeck, TermNeck, TaskBackbone, ChannelNeck):
    MODELS.register_module(module=module, force=True)

TASKS = dict(
    semseg=dict(type='SemSeg', num_classes=5),
    depth=dict(type='Depth'),
    normal=dict(type='Normal'),
    boundary=dict(type='Boundary'),
    saliency=dict(type='Saliency'),
    part=dict(type='Part'),
)
HEAD = dict(type='ConvHead', in_channels=[8, 16], in_index='all', channels=8)
OWN = dict(type='ConvHead', in_channels=8, channels=8)


def make_model(tasks=TASKS, **changes):
    cfg = dict(
        tasks=tasks,
        backbone=dict(type='TinyBackbone'),
        heads={key: dict(HEAD) for key in tasks},
        data_preprocessor=dict(type='DenseDataPreprocessor', size_divisor=8),
    )
    torch.manual_seed(0)
    return DensePredictor(**copy.deepcopy({**cfg, **changes}))


def make_batch(model, sizes=((16, 24), (16, 24)), lacking=()):
    inputs, samples = [], []
    generator = torch.Generator().manual_seed(1)
    for index, size in enumerate(sizes):
        inputs.append(torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator))
        sample = DenseDataSample(metainfo=dict(ori_shape=size, img_shape=size))
        for key, task in model.tasks.items():
            if (index, key) in lacking:
                continue
            gt = torch.rand((task.gt_channels, *size), generator=generator) + 0.5
            if task.dtype is not np.float32:
                gt = (gt * 1.3).to(torch.uint8)
            sample.set_gt(task, gt)
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def losses_of(model, **kwargs):
    batch = model.data_preprocessor(make_batch(model, **kwargs), training=True)
    return model(**batch, mode='loss')


def test_every_task_trains_and_every_parameter_has_a_gradient():
    model = make_model()
    total, logged = model.parse_losses(losses_of(model))
    total.backward()
    assert all(p.grad is not None for p in model.parameters())
    for key in TASKS:
        assert logged[f'{key}.loss'] > 0
        assert logged[f'{key}.labelled'] == 1
    expected = sum(logged[f'{key}.loss'] for key in TASKS)
    assert torch.isclose(logged['loss'], expected)


def test_missing_task_costs_nothing_and_keeps_its_gradients():
    model = make_model()
    lacking = {(0, 'depth'), (1, 'depth'), (0, 'normal')}
    losses = losses_of(model, lacking=lacking)
    assert losses['depth.labelled'] == 0
    assert losses['normal.labelled'] == 0.5
    total, logged = model.parse_losses(losses)
    assert logged['depth.loss'] == 0
    total.backward()
    grads = [p.grad for p in model.heads['depth'].parameters()]
    assert all(g is not None and g.abs().sum() == 0 for g in grads)


def test_necks_of_both_forms_chain_and_their_terms_count():
    model = make_model(neck=[dict(type='TupleNeck'), dict(type='TermNeck')])
    losses = losses_of(model)
    total, logged = model.parse_losses(losses)
    assert 'depth.aux0.loss_masked_l1' in losses
    assert logged['depth.loss_aux'] == losses['depth.aux0.loss_masked_l1']
    expected = sum(logged[f'{key}.loss'] for key in TASKS) + losses['neck.loss_term']
    assert torch.isclose(total, expected)
    plain = make_model().predict_maps(torch.zeros(1, 3, 16, 16))
    assert plain.keys() == TASKS.keys()


def test_necks_may_have_names_and_keep_their_order():
    parts = dict(double=dict(type='TupleNeck'), term=dict(type='TermNeck'))
    named, listed = make_model(neck=parts), make_model(neck=list(parts.values()))
    assert [type(neck) for neck in named.neck] == [TupleNeck, TermNeck]
    assert list(named.state_dict()) == list(listed.state_dict())
    assert len(make_model(neck={}).neck) == 0
    with pytest.raises(ValueError, match=r"no `type`, and its entry 'channels' is no config"):
        make_model(neck=dict(channels=8))


def test_fixed_weights_scale_one_task():
    plain, heavy = (
        make_model(),
        make_model(balancer=dict(type='FixedWeights', weights=dict(depth=3))),
    )
    heavy.load_state_dict(plain.state_dict())
    one, logged = plain.parse_losses(losses_of(plain))
    two, _ = heavy.parse_losses(losses_of(heavy))
    assert torch.isclose(two - one, 2 * logged['depth.loss'], rtol=1e-4)
    with pytest.raises(ValueError, match='negative'):
        BALANCERS.build(dict(type='FixedWeights', weights=dict(depth=-1)))


def test_predictions_come_back_at_the_native_size_of_each_picture():
    model = make_model().eval()
    batch = make_batch(model, sizes=((13, 21), (16, 18)))
    with torch.no_grad():
        found = model.test_step(batch)
    for sample, size in zip(found, ((13, 21), (16, 18))):
        for task in model.tasks.values():
            assert sample.pred(task).shape == (task.gt_channels, *size)
    normal = found[0].pred(model.tasks['normal'])
    assert torch.allclose(normal.norm(dim=0), torch.ones(13, 21), atol=1e-5)


def test_prediction_of_a_padded_picture_is_cut_where_the_picture_was():
    model = make_model(
        tasks=dict(depth=dict(type='Depth', activation='identity')),
        data_preprocessor=dict(type='DenseDataPreprocessor', size=(24, 32), pad_mode='center'),
    ).eval()
    ramp = torch.arange(24 * 32.0).reshape(1, 1, 24, 32)
    sample = DenseDataSample(metainfo=dict(ori_shape=(16, 24), padding_size=(4, 4, 4, 4)))
    found = model._finish(ramp, sample, model.tasks['depth'].decode)
    assert torch.equal(found, ramp[..., 4:20, 4:28].clamp(1e-3, 10))


def test_maps_are_resized_after_decoding_or_activations_before():
    preds = dict(
        semseg=torch.tensor([[[[3.0, 0.0]], [[1.0, 2.5]], *[[[0.0, 0.0]]] * 3]]),
        saliency=torch.tensor([[[[-4.0, 1.0]]]]),
        normal=torch.tensor([[[[1.0, 0.0]], [[0.0, 0.0]], [[0.0, 1.0]]]]),
    )
    tasks = {key: TASKS[key] for key in preds}
    sample = DenseDataSample(metainfo=dict(ori_shape=(1, 4)))
    found = {}
    for resized in ('activations', 'maps'):
        model = make_model(tasks=tasks, test_cfg=dict(resized=resized))
        found[resized] = {
            key: model._finish(pred, sample, model.tasks[key].decode)[0]
            for key, pred in preds.items()
        }
    # Positions 0.25 and 0.75 between the two pixels.
    at = torch.tensor([0, 0.25, 0.75, 1])
    early, late = found['activations'], found['maps']
    assert torch.allclose(early['saliency'][0, 0], (-4 + 5 * at).sigmoid())
    ends = torch.tensor([-4.0, 1.0]).sigmoid()
    assert torch.allclose(late['saliency'][0, 0], ends[0] + (ends[1] - ends[0]) * at)
    # 3 - 3 x against 1 + 1.5 x cross at x = 0.44; a map of labels is cut in the middle.
    assert early['semseg'][0, 0].tolist() == late['semseg'][0, 0].tolist() == [0, 0, 1, 1]
    assert late['semseg'].dtype == torch.int64
    assert torch.allclose(early['normal'].norm(dim=0), torch.ones(1, 4))
    assert torch.allclose(late['normal'][0, 0], 1 - at)
    with pytest.raises(ValueError, match="'logits'; choose 'activations' or 'maps'"):
        make_model(test_cfg=dict(resized='logits'))


@pytest.mark.parametrize('size', [(20, 31), (5, 4), (7, 18)])
def test_label_maps_are_resized_as_opencv_does(size):
    labels = torch.randint(0, 5, (1, 1, 7, 9))
    resized = _resize_map(labels, size)
    rows, cols = (torch.arange(n) * m // n for n, m in zip(size, (7, 9)))
    assert torch.equal(resized, labels[:, :, rows][..., cols])
    published = cv2.resize(
        labels[0, 0].numpy().astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST
    )
    assert np.array_equal(resized[0, 0].numpy(), published)


def test_init_cfg_of_a_head_is_heeded_and_nothing_is_drawn_twice():
    wanted = dict(type='Constant', layer='Conv2d', val=0.25)
    head = dict(type='DeepLabV3PlusHead', in_channels=[8, 16], channels=8, low_channels=4)
    heads = dict(semseg=dict(head, init_cfg=wanted), depth=head)
    tasks = {key: TASKS[key] for key in heads}
    model = make_model(tasks=tasks, heads=heads)
    before = copy.deepcopy(model.heads['depth'].state_dict())
    random_state = torch.get_rng_state()
    model.init_weights()
    convs = [m for m in model.heads['semseg'].modules() if isinstance(m, nn.Conv2d)]
    # Those of mmcv's layers, which draw their weights themselves, too.
    assert len(convs) > 1 and all((conv.weight == 0.25).all() for conv in convs)
    assert all(torch.equal(v, before[k]) for k, v in model.heads['depth'].state_dict().items())
    assert torch.equal(torch.get_rng_state(), random_state)


def test_alias_names_a_head():
    tasks = dict(edge=dict(type='Boundary'))
    assert 'boundary' in make_model(tasks=tasks).heads


def test_config_mistakes_are_named():
    with pytest.raises(KeyError, match="Did you mean 'depth'"):
        make_model(heads=dict(dept=HEAD))
    with pytest.raises(KeyError, match='lacks a head for'):
        make_model(heads=dict(depth=HEAD))
    with pytest.raises(ValueError, match='resize'):
        make_model(test_cfg=dict(resise=False))
    with pytest.raises(ValueError, match="'train'"):
        make_model()(torch.zeros(1, 3, 16, 16), mode='train')
    with pytest.raises(ShapeError, match='in_channels='):
        wrong = dict(HEAD, in_channels=[8, 17])
        losses_of(make_model(tasks=dict(depth=TASKS['depth']), heads=dict(depth=wrong)))


def test_checkpoint_round_trip_gives_the_same_predictions(tmp_path):
    first, second = make_model(), make_model()
    for parameter in second.parameters():
        torch.nn.init.normal_(parameter)
    torch.save(first.state_dict(), tmp_path / 'a.pth')
    second.load_state_dict(torch.load(tmp_path / 'a.pth'))
    x = torch.randn(1, 3, 16, 16)
    a, b = (m.eval().predict_maps(x) for m in (first, second))
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_a_neck_that_takes_tasks_gets_those_of_the_model_unless_it_names_them():
    neck = dict(type='DeformableMixer', channels=8)
    assert make_model(neck=neck).neck[0].tasks == tuple(TASKS)
    named = dict(neck, tasks=['depth'])
    assert make_model(neck=[named]).neck[0].tasks == ('depth',)


def test_a_part_that_takes_task_channels_gets_those_of_the_tasks_unless_it_names_them():
    own = dict(type='ChannelNeck', task_channels=dict(depth=2))
    model = make_model(neck=[dict(type='ChannelNeck'), own])
    counts = dict(semseg=5, depth=1, normal=3, boundary=1, saliency=1, part=7)
    assert model.neck[0].task_channels == counts
    assert list(model.neck[0].task_channels) == list(TASKS)
    assert model.neck[1].task_channels == dict(depth=2)
    two = dict(TASKS, saliency=dict(type='Saliency', num_logits=2))
    assert make_model(two, neck=dict(type='ChannelNeck')).neck[0].task_channels['saliency'] == 2


def test_a_backbone_may_give_every_task_its_own_map():
    model = make_model(backbone=dict(type='TaskBackbone'), heads=dict.fromkeys(TASKS, OWN))
    assert list(model.backbone.convs) == list(TASKS)
    feats = model.extract_feat(torch.zeros(1, 3, 16, 24))
    assert feats.image_size == (16, 24) and feats.supervised and not feats.backbone
    assert set(model(torch.zeros(1, 3, 16, 24))) == set(TASKS)


def test_supervised_logits_are_asked_for_in_training_only():
    seen = []
    model = make_model(backbone=dict(type='TaskBackbone'), heads=dict.fromkeys(TASKS, OWN))
    model.neck.append(nn.Identity())
    model.neck[-1].takes_features = True
    model.neck[-1].register_forward_hook(lambda m, args, out: seen.append(out.supervised))
    model(torch.zeros(1, 3, 16, 24), mode='predict')
    losses_of(model)
    assert seen == [False, True]


class PaddingNeck(nn.Module):
    """Notes the padding that it is told."""

    takes_features = True

    def forward(self, feats):
        self.padding = feats.padding
        return feats


def test_necks_are_told_where_pictures_are_padded(monkeypatch):
    monkeypatch.setitem(MODELS.module_dict, 'TinyBackbone', TinyBackbone)
    monkeypatch.setitem(MODELS.module_dict, 'PaddingNeck', PaddingNeck)
    model = DensePredictor(
        tasks=dict(depth=dict(type='Depth')),
        backbone=dict(type='TinyBackbone'),
        neck=dict(type='PaddingNeck'),
        heads=dict(depth=dict(type='ConvHead', in_channels=8, num_convs=0)),
    )
    samples = [DenseDataSample(metainfo=dict(ori_shape=size)) for size in ((16, 24), (12, 16))]
    pictures = [torch.zeros(3, 16, 24), torch.zeros(3, 12, 16)]
    data = dict(inputs=pictures, data_samples=samples)
    for run in (model.test_step, lambda d: model(**model.data_preprocessor(d, True), mode='loss')):
        run(dict(data))
        assert model.neck[0].padding == ((0, 0, 0, 0), (0, 8, 0, 4))
    model.test_step(dict(inputs=pictures[:1], data_samples=samples[:1]))
    assert model.neck[0].padding is None
