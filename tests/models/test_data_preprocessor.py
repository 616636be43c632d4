import numpy as np
import pytest
import torch

from mmdense.models import DenseDataPreprocessor
from mmdense.structures import DenseDataSample
from mmdense.structures.ground_truth import collate_gt
from mmdense.tasks import build_tasks
from mmdense.utils import ShapeError

TASKS = build_tasks(
    dict(
        semseg=dict(type='SemSeg', num_classes=5),
        depth=dict(type='Depth'),
        normal=dict(type='Normal'),
    )
)
SIZES = [(5, 7), (6, 4)]


def batch(sizes=SIZES, lacking=None, **meta):
    generator = torch.Generator().manual_seed(0)
    inputs, samples = [], []
    for index, size in enumerate(sizes):
        inputs.append(
            torch.randint(1, 256, (3, *size), generator=generator, dtype=torch.int).byte()
        )
        sample = DenseDataSample(metainfo=dict(img_shape=size, ori_shape=size, **meta))
        values = dict(
            semseg=torch.ones(1, *size, dtype=torch.uint8),
            depth=torch.full((1, *size), 2.0),
            normal=torch.tensor([0.0, 0, 1]).view(3, 1, 1).expand(3, *size).contiguous(),
        )
        for key, task in TASKS.items():
            if (index, key) != lacking:
                sample.set_gt(task, values[key])
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def test_values_and_exact_zero_padding():
    data = batch()
    mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    out = DenseDataPreprocessor(TASKS, mean=mean, std=std)(data)['inputs']
    assert out.shape == (2, 3, 6, 7) and out.dtype == torch.float32
    for slot, image in zip(out, data['inputs']):
        height, width = image.shape[1:]
        expected = (image.float() - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(
            3, 1, 1
        )
        assert torch.allclose(slot[:, :height, :width], expected, atol=1e-6)
        assert (slot[:, height:] == 0).all() and (slot[:, :, width:] == 0).all()


def test_default_is_minus_one_to_one_and_channels_can_be_swapped():
    image = torch.tensor([0, 255, 51], dtype=torch.uint8).view(3, 1, 1)
    out = DenseDataPreprocessor(TASKS)(dict(inputs=[image]))['inputs']
    assert out.flatten().tolist() == pytest.approx([-1, 1, -0.6])
    out = DenseDataPreprocessor(TASKS, bgr_to_rgb=True)(dict(inputs=[image]))['inputs']
    assert out.flatten().tolist() == pytest.approx([-0.6, 1, -1])


@pytest.mark.parametrize(
    ('kwargs', 'size'),
    [
        (dict(), (6, 7)),
        (dict(size_divisor=4), (8, 8)),
        (dict(size_divisor=4, size_remainder=1), (9, 9)),
        (dict(size_divisor=3, size_remainder=1), (7, 7)),
        (dict(size=(10, 11)), (10, 11)),
    ],
)
@pytest.mark.parametrize('pad_mode', ['corner', 'center'])
def test_sizes_positions_and_ground_truth_agree(kwargs, size, pad_mode):
    data = batch()
    out = DenseDataPreprocessor(TASKS, pad_mode=pad_mode, **kwargs)(data, training=True)
    assert tuple(out['inputs'].shape[-2:]) == size
    for image, sample, slot in zip(data['inputs'], out['data_samples'], out['inputs']):
        left, right, top, bottom = sample.metainfo['padding_size']
        assert sample.metainfo['pad_shape'] == size
        window = slice(top, size[0] - bottom), slice(left, size[1] - right)
        assert torch.allclose(slot[(..., *window)], image / 127.5 - 1, atol=1e-6)
        outside = torch.ones(size, dtype=torch.bool)
        outside[window] = False
        assert (slot[:, outside] == 0).all()
        for task in TASKS.values():
            known = task.valid_mask(sample.gt(task)[None])[0, 0]
            assert torch.equal(known, ~outside), task


def test_deeplab_sizes():
    preprocessor = DenseDataPreprocessor(TASKS, size_divisor=32, size_remainder=1)
    assert preprocessor.target_size([(480, 640)]) == (481, 641)
    assert preprocessor.target_size([(481, 641)]) == (481, 641)
    assert preprocessor.target_size([(1, 482)]) == (1, 513)


def test_ground_truth_stays_native_in_tests_and_given_samples_are_untouched():
    data = batch()
    preprocessor = DenseDataPreprocessor(TASKS, size_divisor=32)
    first = preprocessor(data, training=True)
    assert data['data_samples'][0].gt(TASKS['depth']).shape == (1, 5, 7)
    assert 'padding_size' not in data['data_samples'][0].metainfo
    second = preprocessor(data, training=True)
    assert torch.equal(first['inputs'], second['inputs'])
    tested = preprocessor(data, training=False)
    assert tested['data_samples'][1].gt(TASKS['depth']).shape == (1, 6, 4)
    assert tested['data_samples'][1].metainfo['padding_size'] == (0, 28, 0, 26)


def test_padding_of_the_pipeline_is_zeroed_and_added_up():
    data = batch(sizes=[(5, 7)], padding_size=(1, 2, 0, 1), intrinsics=np.eye(3))
    out = DenseDataPreprocessor(TASKS, size=(7, 9), pad_mode='center')(data)
    meta = out['data_samples'][0].metainfo
    assert meta['padding_size'] == (2, 3, 1, 2)
    assert meta['intrinsics'][:2, 2].tolist() == [1, 1]
    slot = out['inputs'][0]
    content = data['inputs'][0][:, 0:4, 1:5] / 127.5 - 1
    assert torch.allclose(slot[:, 1:5, 2:6], content, atol=1e-6)
    slot[:, 1:5, 2:6] = 0
    assert (slot == 0).all()


def test_collated_ground_truth_with_a_missing_task():
    out = DenseDataPreprocessor(TASKS)(batch(lacking=(1, 'depth')), training=True)
    targets = collate_gt(TASKS, out['data_samples'], (6, 7), 'cpu')
    assert targets['normal'].shape == (2, 3, 6, 7)
    assert targets['semseg'].dtype == torch.uint8
    known = TASKS['depth'].valid_mask(targets['depth'])
    assert known[0].sum() == 35 and not known[1].any()


def test_stacked_inputs_without_samples():
    inputs = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    out = DenseDataPreprocessor(TASKS)(dict(inputs=inputs))
    assert out['inputs'].shape == (2, 3, 4, 4) and out['data_samples'] is None


def test_errors_name_value_and_remedy():
    with pytest.raises(ShapeError, match=r'6x7 does not fit into size=\(6, 6\)'):
        DenseDataPreprocessor(TASKS, size=(6, 6))(batch())
    with pytest.raises(ShapeError, match=r'\(5, 7\), expected \(3, H, W\)'):
        DenseDataPreprocessor(TASKS)(dict(inputs=[torch.zeros(5, 7)]))
    with pytest.raises(ValueError, match='size_remainder=32'):
        DenseDataPreprocessor(TASKS, size_divisor=32, size_remainder=32)
    with pytest.raises(ValueError, match='`mean` has 2 values'):
        DenseDataPreprocessor(TASKS, mean=(1, 2))
    with pytest.raises(ValueError, match='positive'):
        DenseDataPreprocessor(TASKS, std=0)
    with pytest.raises(ValueError, match='middle'):
        DenseDataPreprocessor(TASKS, pad_mode='middle')
